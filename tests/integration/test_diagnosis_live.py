"""`sie doctor`, `sie top` and the console's judgement on live clusters: broken, named, mended."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.console_world import served_console
from tests.support.log_world import Writer, connected, follower, free_port, writer
from tests.support.mortal_workers import Cluster, Pair, mortal_workers, texts_in_flight
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.tokens import tokens_file
from tests.support.toy_cluster import toy_cluster

from sie_cli.access import state
from sie_cli.access.state import record_process
from sie_cli.diagnosis.facts import Place, gather, place_of
from sie_cli.diagnosis.screen import glance_of
from sie_cli.diagnosis.verdict import Verdict, judge
from sie_cli.local.report import gather_status
from sie_config.stream.usage_watch import watch_usage
from sie_core.troubles import Trouble
from sie_testing.processes.echo_execution import BACKEND, UNLOADABLE
from sie_testing.processes.programs import Program, program_path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

JOBS_MAX = 10
LATE_S = 600
CLOCK_AHEAD = f"""
import sys, time
real = time.time
time.time = lambda: real() + {LATE_S}
from sie_worker.main import main
main()
"""
"""A worker on a host whose clock is ahead."""


async def verdict(place: Place) -> Verdict:
    return judge(await asyncio.to_thread(gather, place, timeout_s=2))


async def told(place: Place, *ids: str) -> dict[str, Any]:
    """Wait until the doctor names all of these; what it says of each."""
    found: dict[str, Any] = {}

    async def are() -> bool:
        found.update({each.id: each for each in (await verdict(place)).troubles})
        return set(ids) <= found.keys()

    await until_told(are)
    return {each: found[each] for each in ids}


def news(troubles: Iterable[Trouble]) -> list[Trouble]:
    """Those that are not counts of sie-config: it is in the process of all tests before this."""
    return [each for each in troubles if not each.id.endswith("_total config")]


async def is_well(place: Place) -> None:
    """Wait until nothing is wrong."""

    left: list[Any] = []

    async def is_() -> bool:
        left[:] = news((await verdict(place)).troubles)
        return not left

    try:
        await until_told(is_)
    except AssertionError as error:
        raise AssertionError(left) from error


def place(cluster: Cluster) -> Place:
    return Place(config_url=cluster.writer.url, gateway_url=cluster.gateway)


async def command(*arguments: str, **variables: str) -> tuple[int, str]:
    """`sie …` as a process of its own: the exit status, and all that it said."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "SIE_"}
    process = await asyncio.create_subprocess_exec(
        program_path("sie"),
        *arguments,
        env=environment | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def write(to: Writer, kind: str, name: str, document: dict[str, Any]) -> None:
    answer = await to.http.put(f"/v1/configs/{kind}/{name}", json=document)
    assert answer.status_code in {200, 201}, answer.text


async def remove(of: Writer, path: str) -> None:
    answer = await of.http.delete(f"/v1/configs/{path}", headers={"X-SIE-Force": "a test"})
    assert answer.status_code == 200, answer.text


async def forget(of: Writer, role: str, replica_id: str) -> None:
    body = {"role": role, "id": replica_id}
    answer = await of.http.post("/v1/configs/replicas/forget", json=body)
    assert answer.status_code == 200, answer.text


def echo_model(name: str, package: str = "echo", **rest: Any) -> dict[str, Any]:
    source = {"type": "package", "package": package, "distribution": "echo", "version": "1"}
    profiles = {"default": {"backend": BACKEND, "batch_wait_ms": 1.0}}
    return {
        "model_id": name,
        "source": source,
        "tasks": {"encode": {}},
        "profiles": profiles,
    } | rest


@asynccontextmanager
async def judged_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Two workers, and the loop of sie-config that looks at the broker."""
    over = asyncio.Event()
    async with (
        mortal_workers(folder, 2, config={"queue_messages_max": JOBS_MAX}) as cluster,
        connected(cluster.broker.url, "config") as bus,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(watch_usage(bus, over, every_s=0.1))
        yield cluster
        over.set()


async def test_each_fault_of_a_live_cluster_is_named_with_its_cure_and_is_gone_when_it_is(tmp_path):
    async with judged_cluster(tmp_path) as cluster:
        here = place(cluster)
        await is_well(here)
        options = ("--url", cluster.writer.url, "--gateway-url", cluster.gateway)
        status, said = await command("doctor", *options)
        clean = not (await verdict(here)).troubles
        assert (status, "nothing is wrong" in said) == (0, clean), said
        assert "hears 2 workers, 2 ready" in said

        await a_model_that_does_not_load(cluster, here)
        await a_pool_without_workers(cluster, here)
        await a_queue_that_fills(cluster, here)
        await a_clock_that_is_ahead(cluster, here, tmp_path)
        await a_dead_worker(cluster, here)
        await an_absent_broker(cluster, here)

        status, said = await command("top", *options, "-o", "json", "--every", "0.1")
        assert (status, json.loads(said)["writer"]) == (0, "serving"), said


async def a_model_that_does_not_load(cluster: Cluster, here: Place) -> None:
    await write(cluster.writer, "models", "org/broken", echo_model("org/broken", UNLOADABLE))
    body = {"items": [{"text": "a"}]}

    async def is_asked_for() -> bool:
        # The gateway may not know it yet, and then no worker hears of it.
        answer = await cluster.http.post(f"{cluster.gateway}/v1/encode/org/broken", json=body)
        assert answer.status_code >= 400, answer.text
        return bool(answer.json()["detail"]["code"] != "MODEL_NOT_FOUND")

    await until_told(is_asked_for)

    async def named() -> bool:
        return any(each.model == "org/broken" for each in (await verdict(here)).troubles)

    await until_told(named)
    [trouble] = [each for each in (await verdict(here)).troubles if each.model]
    assert "its weights are no weights" in trouble.evidence
    assert trouble.command == "sie history model org/broken"
    await remove(cluster.writer, "models/org/broken")
    await is_well(here)


async def a_pool_without_workers(cluster: Cluster, here: Place) -> None:
    await write(cluster.writer, "pools", "far", {"machine_profiles": ["cpu"]})
    await write(cluster.writer, "models", "org/far", echo_model("org/far", pool="far"))
    found = await told(here, "pool far")
    assert found["pool far"].evidence == "1 model of the log in it"
    await remove(cluster.writer, "models/org/far")
    await is_well(here)


async def a_queue_that_fills(cluster: Cluster, here: Place) -> None:
    flight = await texts_in_flight(cluster, JOBS_MAX - 1)
    found = await told(here, "queue default")
    assert f"{JOBS_MAX - 1} of {JOBS_MAX} jobs" in found["queue default"].evidence
    for pair in cluster.pairs:
        pair.execution.resume()
    for text, asking in flight.asking.items():
        assert cluster.right(await asking, text)
    await is_well(here)


async def a_clock_that_is_ahead(cluster: Cluster, here: Place, folder: Path) -> None:
    pair = cluster.pairs[0]
    late = Program(
        "late",
        [sys.executable, "-c", CLOCK_AHEAD, *shifted(pair, folder)],
        folder / "late.log",
        environment={name: value for name, value in os.environ.items() if name[:4] != "SIE_"},
    )
    await late.start()
    try:
        found = await told(here, "clock worker late")
        assert f"{LATE_S} s ahead of" in found["clock worker late"].what
    finally:
        await late.kill()
    await forget(cluster.writer, "worker", "late")
    await until_told(lambda: heard(cluster, 2))


def shifted(pair: Pair, folder: Path) -> list[str]:
    """The options of that worker for another one, with an execution that is not there."""
    argv = [*pair.sidecar.argv[1:]]
    own = {
        "--worker-id": "late",
        "--socket-path": str(folder / "nobody.sock"),
        "--replica-dir": str(folder / "late"),
        "--port": str(free_port()),
    }
    for flag, value in own.items():
        argv[argv.index(flag) + 1] = value
    return argv


async def heard(cluster: Cluster, count: int) -> bool:
    found = (await cluster.http.get(f"{cluster.gateway}/health")).json()["workers"]
    return len(found) == count


async def a_dead_worker(cluster: Cluster, here: Place) -> None:
    dead, lone = cluster.pairs
    await dead.kill()
    await told(here, "replica worker worker-0")
    await lone.execution.kill()
    found = await told(here, "workers")
    assert found["workers"].tone == "bad"
    options = ("--url", here.config_url, "--gateway-url", here.gateway_url)
    status, said = await command("doctor", *options, "-o", "name")
    assert (status, "replica worker worker-0" in said) == (1, True), said
    await dead.start()
    await lone.execution.start()
    await cluster.ready(2)
    await is_well(here)


async def an_absent_broker(cluster: Cluster, here: Place) -> None:
    await cluster.broker.kill()
    await write(cluster.writer, "pools", "meanwhile", {"machine_profiles": ["cpu"]})
    found = await told(here, "broker", "stream")
    assert found["broker"].command == "sie logs nats"
    await cluster.broker.start()
    await is_well(here)


async def test_a_quarantined_replica_and_a_writer_that_is_gone_are_named(tmp_path):
    async with nats_server(tmp_path / "nats") as url:
        async with (
            writer(tmp_path / "data", url) as one,
            follower(url, one.url, tmp_path / "r") as replica,
        ):
            await one.put("a")
            await until(lambda: replica.follower.position is not None)
        port = free_port()
        async with (
            writer(tmp_path / "other", url, port=port, new_log=True) as two,
            follower(url, two.url, tmp_path / "r") as replica,
        ):
            await two.put("b")
            await replica.state("quarantined")
            here = Place(config_url=two.url)
            [row] = (await two.http.get("/v1/configs/replicas")).json()["replicas"]
            name = f"replica {row['role']} {row['id']}"
            found = await told(here, name)
            assert found[name].tone == "bad"
            assert found[name].command.startswith("sie replica resync")
        gone = await verdict(here)
        assert [each.id for each in gone.troubles] == ["config"]
        assert "nobody listens there" in gone.troubles[0].evidence
        assert not gone.sound


async def test_a_token_that_is_not_taken_is_named_with_the_variable(tmp_path, monkeypatch):
    tokens = tokens_file(tmp_path / "tokens.json", viewer=("read",), caller=("infer",))
    with served_console(tmp_path / "log", tokens) as url:
        for token, wanted in (("nobody", "401"), ("caller", "403")):
            found = await told(Place(config_url=url, config_token=token), "token config")
            assert found["token config"].evidence.startswith(wanted)
            assert "SIE_CONFIG_TOKEN" in found["token config"].cure
        found = await told(Place(config_url=url), "token config")
        assert found["token config"].what == "sie-config wants a token, none was given"
        us = record_process("config", os.getpid(), tmp_path / "log.txt")
        state.save(
            tmp_path,
            state.ClusterState(
                supervisor=us,
                ready=True,
                gateway_url=url,
                config_url=url,
                nats_url="",
                processes=(us,),
            ),
        )
        status = await asyncio.to_thread(gather_status, tmp_path)
        assert "SIE_CONFIG_TOKEN or SIE_API_KEY" in status["error"]
        monkeypatch.setenv("SIE_CONFIG_TOKEN", "viewer")
        status = await asyncio.to_thread(gather_status, tmp_path)
        assert "error" not in status
        seen = await verdict(Place(config_url=url, config_token="viewer"))
        assert "token config" not in {each.id for each in seen.troubles}


async def test_processes_that_die_are_named_and_a_stranger_at_an_address_is_no_service(tmp_path):
    async with toy_cluster(tmp_path) as toy:
        await toy.ready.wait()
        here = await asyncio.to_thread(place_of, "", toy.data, "", "", {})
        assert here.record is not None
        strangers = await verdict(here)
        assert {"config", "gateway"} <= {each.id for each in strangers.troubles}
        assert any("is not sie-config" in each.what for each in strangers.troubles)
        await a_process_that_hangs(here)
        (tmp_path / "refuse" / "worker-0").touch()
        toy.kill("worker-0")

        async def died() -> bool:
            now = await asyncio.to_thread(place_of, "", toy.data, "", "", {})
            ids = {each.id for each in (await verdict(now)).troubles}
            return bool(ids & {"process worker-0", "restarts worker-0"})

        await until_told(died)
    dead = await verdict(replace(here, config_url=f"http://127.0.0.1:{free_port()}"))
    ids = {each.id for each in dead.troubles}
    assert {"process gateway", "process worker-0", "config"} <= ids
    assert "supervisor" not in ids, "its process is that of this test, which runs"


async def a_process_that_hangs(here: Place) -> None:
    assert here.record is not None
    pid = next(each.pid for each in here.record.processes if each.role == "gateway")
    found: dict[str, str] = {}

    async def is_named() -> bool:
        now = judge(await asyncio.to_thread(gather, here, timeout_s=0.5))
        found.update({each.what: each.command for each in now.troubles})
        return "gateway runs and does not answer" in found

    os.kill(pid, signal.SIGSTOP)
    try:
        await until_told(is_named)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found["gateway runs and does not answer"] == f"kill -9 {pid}"


async def test_a_variable_that_names_the_cluster_of_this_folder_hides_no_process(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    async with toy_cluster(tmp_path) as toy:
        await toy.ready.wait()
        (tmp_path / ".sie").symlink_to(toy.data, target_is_directory=True)
        own = await asyncio.to_thread(place_of, "", None, "", "", {})
        assert own.record is not None
        same = place_of("", None, "", "", {"SIE_CONFIG_URL": f"{own.config_url}/"})
        other = place_of("", None, "", "", {"SIE_CONFIG_URL": "http://127.0.0.1:1"})
        assert same.record == own.record
        assert other.record is None


async def test_top_counts_what_was_asked_between_two_looks(tmp_path):
    async with mortal_workers(tmp_path, 1) as cluster:
        from sie_cli.diagnosis.figures import model_rates, read_figures

        before = await asyncio.to_thread(gather, place(cluster))
        for number in range(5):
            assert cluster.right(await cluster.ask(f"t{number}"), f"t{number}")
        after = await asyncio.to_thread(gather, place(cluster))
        assert before.gateway_metrics is not None
        assert after.gateway_metrics is not None
        pages = (before.gateway_metrics.body, after.gateway_metrics.body)
        [rate] = model_rates(read_figures(pages[0]), read_figures(pages[1]), 1.0)
        assert (rate.model, rate.per_s, rate.failed_per_s) == ("org/echo", 5.0, 0.0)
        assert rate.p50_s is not None
        glance = glance_of(after, [rate]).to_builtins()
        assert glance["workers"][0]["name"] == "worker-0"
        assert glance["models"][0]["model"] == "org/echo"
