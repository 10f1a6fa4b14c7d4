"""Laws of the broker's file and of the plans of a local cluster."""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_cli.plan import broker
from sie_cli.plan.broker import BrokerPlan
from sie_cli.plan.gpus import count_gpus
from sie_cli.plan.plans import Layout, plan_cluster
from sie_cli.plan.settings import ClusterOptions, ClusterSettings
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import holding_subject, queue_subject
from sie_schemas.jobs import stream_name, token

PORTS = st.integers(1024, 65000)
SECRETS = st.fixed_dictionaries({role: st.text(min_size=1, max_size=30) for role in broker.ROLES})
FOLDERS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20)


def plan_of(
    port: int,
    secrets: dict[str, str],
    folder: str,
    workers: int,
    devices: int = 1,
    environment: Mapping[str, str] = MappingProxyType({}),
    gpus: int = 0,
):
    data = Path("/data") / folder
    return plan_cluster(
        ClusterOptions(data=data, port=port, workers=workers, devices=devices, gpus=gpus),
        ClusterSettings(),
        layout=Layout(data=data, sockets=Path("/run")),
        scripts=Path("/venv/bin"),
        environment={"PATH": "/bin", **environment},
        broker=BrokerPlan(port=20000, monitor_port=20001, store=data / "nats", passwords=secrets),
        worker_ports=tuple(range(21000, 21000 + workers)),
        server_ports=tuple(range(22000, 22000 + workers * devices)),
    )


@given(PORTS, SECRETS, FOLDERS)
def test_every_user_has_a_list_of_what_it_may_and_nobody_has_everything(port, secrets, folder):
    text = broker.render(
        BrokerPlan(port=port, monitor_port=port + 1, store=Path("/") / folder, passwords=secrets)
    )
    users = [line for line in text.splitlines() if "user:" in line]
    assert len(users) == len(broker.ROLES)
    for role, line in zip(broker.ROLES, users, strict=True):
        assert f'user: "{role}"' in line
        assert "publish: { allow: [" in line
        assert "subscribe: { allow: [" in line


POOLS = st.lists(st.text("abz-_.09", min_size=1, max_size=8), min_size=1, max_size=3, unique=True)
VERBS = st.sampled_from(
    [
        "STREAM.CREATE.{}",
        "STREAM.UPDATE.{}",
        "STREAM.DELETE.{}",
        "STREAM.RESTORE.{}",
        "STREAM.SNAPSHOT.{}",
        "STREAM.MSG.GET.{}",
        "STREAM.TEMPLATE.CREATE.{}",
        "CONSUMER.CREATE.{}",
        "CONSUMER.CREATE.{}.c",
        "CONSUMER.CREATE.{}.c.sie.work.a.b.c.d",
        "CONSUMER.DURABLE.CREATE.{}.c",
        "CONSUMER.DELETE.{}.c",
        "CONSUMER.PAUSE.{}.c",
        "CONSUMER.RESET.{}.c",
    ]
)
STREAMS = st.sampled_from(
    ["CFG_1", "WORK_POOL_a", "DEAD_LETTERS", "KV_sie_leases", "OBJ_sie_jobs", "SWEEP_ADVISORIES"]
)
SECRET = [
    "sie.work.a.cpu.default.m",
    "sie.retried.1",
    "sie.result.g1",
    "$O.sie_jobs.C.a.j.0",
    "$KV.sie_leases.l",
    "sie.dead.a",
    "sie.config.log.1.e",
]
WRITERS_WORDS = [
    "sie.config.log.1.e",
    "sie.config.head.1",
    "sie.config.stored.1",
    "sie.config.rollcall",
    "sie.config.tail.gateway.g",
    "sie.config.recount.worker.w",
    "sie.config.resync.gateway.g",
    "_INBOX.config.x.1",
    "_INBOX.gateway.x.1",
    "_INBOX.worker.x.1",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.WORK_POOL_a.c",
    "$SYS.REQ.SERVER.PING",
]
MEANT_TO_HEAR = {
    ("gateway", "sie.result.g1"),
    ("operator", "sie.retried.1"),
    # What became of a dead letter that the console had run again.
    ("config", "sie.retried.1"),
}
OTHERS = st.sampled_from([role for role in broker.ROLES if role != "config"])


def matches(pattern: str, subject: str) -> bool:
    """As the broker does it."""
    wanted, told = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, told = wanted[:-1], told[: len(wanted) - 1] if len(told) >= len(wanted) else []
    return len(wanted) == len(told) and all(
        want in ("*", have) for want, have in zip(wanted, told, strict=True)
    )


def may_publish(role: str, subject: str, pools: list[str]) -> bool:
    may = broker.rights(role, pools)
    refused = any(matches(each, subject) for each in may.never)
    return not refused and any(matches(each, subject) for each in may.publish)


@given(OTHERS, VERBS, STREAMS, POOLS)
def test_only_config_makes_mends_or_reads_any_stream_or_consumer(role, verb, stream, pools):
    assert not may_publish(role, "$JS.API." + verb.format(stream), pools)


@given(OTHERS, st.sampled_from(WRITERS_WORDS), POOLS)
def test_nobody_else_speaks_as_the_writer_or_as_the_broker(role, subject, pools):
    assert not may_publish(role, subject, pools)


@given(st.sampled_from(broker.ROLES), st.sampled_from(SECRET), POOLS)
def test_nobody_hears_where_texts_go_but_who_they_are_for(role, subject, pools):
    heard = any(matches(each, subject) for each in broker.rights(role, pools).subscribe)
    assert heard == ((role, subject) in MEANT_TO_HEAR)


@given(POOLS, st.text("abz-_.09", min_size=1, max_size=8))
def test_a_workers_user_reads_the_work_of_its_pools_and_no_other(pools, pool):
    stream, name = stream_name(pool), token(pool)
    for subject in (
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c",
        f"$JS.ACK.{stream}.c.1.1.1.0.0",
        f"$JS.API.DIRECT.GET.OBJ_sie_jobs.$O.sie_jobs.C.{name}.j.0",
        f"sie.dead.{name}",
    ):
        assert may_publish("worker", subject, pools) == (pool in pools)
    for asked in (holding_subject(pool, "life"), queue_subject(pool, "life")):
        heard = any(matches(each, asked) for each in broker.rights("worker", pools).subscribe)
        assert heard == (pool in pools)
    for stream in ("DEAD_LETTERS", "KV_sie_leases", "OBJ_sie_jobs", "SWEEP_ADVISORIES"):
        assert not may_publish("worker", f"$JS.API.DIRECT.GET.{stream}", pools)
    assert may_publish("worker", "$JS.API.DIRECT.GET.CFG_1", pools)


@given(st.sampled_from(broker.ROLES), POOLS)
def test_nothing_that_is_allowed_is_wider_than_a_prefix_of_ours(role, pools):
    may = broker.rights(role, pools)
    for pattern in (*may.publish, *may.subscribe):
        assert not pattern.startswith(("*", ">", "$SYS")), pattern
        assert pattern not in {"$JS.>", "$JS.API.>", "sie.>", "_INBOX.>", "$O.>", "$KV.>"}
    # The broker takes a last `*` of what may be heard for `>` too.
    widened = [
        each.removesuffix("*") + ">" if each.endswith("*") else each for each in may.subscribe
    ]
    for subject in SECRET:
        if (role, subject) not in MEANT_TO_HEAR:
            assert not any(matches(each, subject) for each in widened), subject


@given(PORTS, SECRETS, FOLDERS)
def test_no_password_and_no_folder_can_add_a_line_to_the_brokers_file(port, secrets, folder):
    def lines(secrets_given: dict[str, str], folder_given: str) -> list[str]:
        plan = BrokerPlan(
            port=port,
            monitor_port=port + 1,
            store=Path("/") / folder_given,
            passwords=secrets_given,
        )
        return broker.render(plan).split("\n")

    plain = lines(dict.fromkeys(broker.ROLES, "x"), "y")
    assert len(lines(secrets, folder)) == len(plain)


@given(PORTS, SECRETS, FOLDERS, st.integers(1, 8))
def test_no_command_line_shows_a_password(port, secrets, folder, workers):
    plan = plan_of(
        port, {role: f"secret:{value}" for role, value in secrets.items()}, folder, workers
    )
    for child in (plan.broker, plan.config, plan.gateway, *plan.servers, *plan.workers):
        assert not any("secret:" in argument for argument in child.argv)


@given(PORTS, SECRETS, FOLDERS, st.integers(1, 8))
def test_each_process_gets_its_own_log_file_and_only_its_own_password(
    port, secrets, folder, workers
):
    plan = plan_of(port, secrets, folder, workers)
    children = (plan.broker, plan.config, plan.gateway, *plan.servers, *plan.workers)
    assert len({child.log for child in children}) == len(children) == 3 + 2 * workers
    for child in children:
        given_secrets = {name for name in child.environment if "PASSWORD" in name}
        role = re.sub(r"-\d+$", "", child.role)
        wanted = {f"SIE_{role.upper()}_NATS_PASSWORD"} if role in broker.ROLES else set()
        assert given_secrets == wanted


@given(PORTS, SECRETS, FOLDERS, st.integers(1, 8), st.integers(1, 4))
def test_each_server_is_behind_one_worker(port, secrets, folder, workers, devices):
    plan = plan_of(port, secrets, folder, workers, devices)
    sockets = [child.argv[child.argv.index("--socket") + 1] for child in plan.servers]
    behind = [
        child.argv[child.argv.index("--socket-path") + 1].split(",") for child in plan.workers
    ]
    assert {len(each) for each in behind} == {devices}
    assert [socket for each in behind for socket in each] == sockets
    assert len(set(sockets)) == workers * devices


@given(PORTS, FOLDERS, st.integers(1, 3), st.integers(1, 4), st.sampled_from([None, "", "4,5,6,7"]))
def test_each_device_of_a_worker_has_a_gpu_of_its_own(port, folder, workers, devices, shown):
    given_gpus = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    plan = plan_of(
        port,
        dict.fromkeys(broker.ROLES, "x"),
        folder,
        workers,
        devices,
        {"SIE_SERVER_DEVICE": "cuda", **given_gpus},
    )
    gpus = [child.environment["CUDA_VISIBLE_DEVICES"] for child in plan.servers]
    assert gpus == (shown.split(",") if shown else list("0123"))[:devices] * workers


def test_more_devices_than_gpus_are_refused_and_a_cpu_is_told_of_none():
    secrets = dict.fromkeys(broker.ROLES, "x")
    gpus = {"SIE_SERVER_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
    with pytest.raises(FixRequest, match="shows 2 GPUs: give --devices 2"):
        plan_of(8080, secrets, "f", 1, 3, gpus)
    plan = plan_of(8080, secrets, "f", 1, 2)
    assert not any("CUDA_VISIBLE_DEVICES" in child.environment for child in plan.servers)


@given(st.integers(1, 4), st.integers(1, 5), st.booleans())
def test_gpus_that_nobody_named_are_dealt_to_the_processes_in_turn(gpus, devices, named):
    shown = {"CUDA_VISIBLE_DEVICES": ",".join(f"GPU-{each}" for each in range(gpus))}
    secrets = dict.fromkeys(broker.ROLES, "x")
    plan = plan_of(8080, secrets, "f", 1, devices, shown if named else {}, gpus)
    seen = [child.environment["CUDA_VISIBLE_DEVICES"] for child in plan.servers]
    prefix = "GPU-" if named else ""
    assert seen == [f"{prefix}{place % gpus}" for place in range(devices)]


def test_gpus_are_counted_as_the_driver_lists_them_and_only_where_no_device_is_stated(tmp_path):
    assert count_gpus({}, tmp_path / "none") == 0
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert count_gpus({}, tmp_path) == 2
    assert count_gpus({"CUDA_VISIBLE_DEVICES": "1"}, tmp_path) == 1
    for stated in ("cpu", "cuda", "cuda:1"):
        assert count_gpus({"SIE_SERVER_DEVICE": stated}, tmp_path) == 0


@given(st.integers(1, 512))
def test_the_broker_leaves_the_cores_to_the_others_and_has_one_thread_at_least(cores):
    threads = broker.threads_on(cores)
    assert threads == 1 or 4 * threads <= cores
    assert threads >= cores // 4


def test_the_operators_word_on_the_brokers_threads_comes_first():
    secrets = dict.fromkeys(broker.ROLES, "s")
    ours = plan_of(9000, secrets, "a", workers=1)
    theirs = plan_of(9000, secrets, "a", workers=1, environment={"GOMAXPROCS": "6"})
    assert ours.broker.environment["GOMAXPROCS"] == "1"
    assert theirs.broker.environment["GOMAXPROCS"] == "6"
    assert "GOMAXPROCS" not in ours.gateway.environment
