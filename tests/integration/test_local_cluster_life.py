"""The life of a local cluster: up, a second up, a taken port, status, killed parts, down."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.live_cluster import MODEL, SIE, LiveCluster, eventually, sie

from sie_cli.access import state
from sie_cli.access.state import ClusterState
from sie_cli.plan.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROLES = ("server-0", "nats", "config", "gateway", "worker-0")
"""In the order of their start."""
NO_QUESTION = {"SIE_CLUSTER_FIRST_ANSWER_S": "0"}
EXPORTED = {
    "SIE_ACTOR": "me",
    "SIE_API_KEY": "key",
    "SIE_BASE_URL": "http://127.0.0.1:1",
    "SIE_CONFIG_TOKEN": "token",
    "SIE_CONFIG_URL": "http://127.0.0.1:1",
    "SIE_GATEWAY_CONFIG_URL": "http://127.0.0.1:1",
    "SIE_GATEWAY_PORT": "1",
    "SIE_NATS_PASSWORD": "password",
    "SIE_NATS_USER": "operator",
    "SIE_WORKER_NATS_URL": "nats://127.0.0.1:1",
}
"""The variables that somebody has exported who works with another cluster as well."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The data folder of a private cluster; a test that fails leaves nothing running either."""
    yield tmp_path
    sie("down", "--data", str(tmp_path))


def record_of(data: Path) -> ClusterState:
    record = state.load(data)
    assert record is not None
    return record


def head_of(cluster: LiveCluster) -> dict[str, Any]:
    head: dict[str, Any] = httpx.get(f"{cluster.config_url}/v1/configs/epoch", timeout=60).json()
    return head


def everything_is_in_step(cluster: LiveCluster) -> bool:
    status = cluster.status()
    if not status["running"] or not status["head"]:
        return False
    head = (status["head"]["epoch"], status["head"]["digest"])
    found = {each["id"]: (each["epoch"], each["digest"]) for each in status["replicas"]}
    return len(found) >= 2 and any(position == head for position in found.values())


def answers(cluster: LiveCluster) -> bool:
    try:
        return cluster.encode().status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_the_line_that_up_prints_is_answered_with_a_vector(live_cluster):
    words = shlex.split(live_cluster.curl_line)
    body, header = words[words.index("-d") + 1], words[words.index("-H") + 1]
    name, _, value = header.partition(": ")
    response = httpx.post(words[2], content=body, headers={name: value}, timeout=30)
    assert response.status_code == 200
    assert len(response.json()["items"][0]["dense"]["values"]) == 384


def test_status_shows_every_process_and_every_replica_at_the_head(live_cluster):
    eventually(lambda: everything_is_in_step(live_cluster))
    status = live_cluster.status()
    assert [each["role"] for each in status["processes"]] == ["supervisor", *ROLES]
    for process in status["processes"]:
        assert process["alive"], process
        assert Path(process["log"]).parent == live_cluster.data / "logs"
    ports = {each["role"]: each["port"] for each in status["processes"]}
    assert (ports["gateway"], ports["config"]) == (live_cluster.port, live_cluster.port + 1)
    assert {each["role"] for each in status["replicas"]} == {"gateway", "worker"}


def test_status_is_readable_without_json(live_cluster):
    shown = sie("status", "--data", str(live_cluster.data))
    assert shown.returncode == 0
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["role", "pid", "port", "alive", "restarts", "log"]
    assert any(line.startswith("head: epoch ") for line in lines)
    assert any(line.startswith("gateway ") and line.endswith(" yes") for line in lines)


def test_the_demo_models_and_adapters_are_registered_by_the_actor_sie_up(live_cluster):
    history = httpx.get(
        f"{live_cluster.config_url}/v1/configs/models/{MODEL}/history", timeout=60
    ).json()
    assert "sie up" in str(history)
    for adapter in ("legal", "medical"):
        answer = live_cluster.encode(params={"options": {"lora": adapter}})
        assert answer.status_code == 200, answer.text


def test_a_second_up_on_the_same_folder_is_one_clear_line(live_cluster):
    second = sie("up", "--data", str(live_cluster.data), "--port", str(live_cluster.port + 10))
    assert second.returncode == 1
    assert len(second.stderr.splitlines()) == 1
    supervisor = live_cluster.pids()["supervisor"]
    assert f"already runs in {live_cluster.data} (supervisor pid {supervisor})" in second.stderr


@pytest.mark.parametrize("offset", [0, -1], ids=["gateway", "config"])
@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_taken_port_is_one_clear_line_and_nothing_is_started(
    live_cluster, tmp_path, offset, detach
):
    port = live_cluster.port + offset
    refused = sie("up", "--data", str(tmp_path / "other"), "--port", str(port), *detach)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert f"port {live_cluster.port}, where" in refused.stderr
    assert not (tmp_path / "other/logs/nats.log").exists()


@pytest.mark.parametrize("role", ROLES)
def test_a_killed_process_is_restarted_and_no_acknowledged_config_is_lost(live_cluster, role):
    eventually(lambda: answers(live_cluster))
    written = httpx.post(
        f"{live_cluster.config_url}/v1/configs/models",
        json={
            "model_id": f"test/killed-{role}",
            "source": {"type": "hub", "id": "test/none", "revision": "0" * 40},
            "tasks": {"encode": {}},
            "profiles": {"default": {"backend": "transformer"}},
        },
        timeout=30,
    )
    assert written.is_success, written.text
    before = live_cluster.pids()

    os.kill(before[role], signal.SIGKILL)

    eventually(lambda: live_cluster.pids()[role] != before[role])
    eventually(lambda: answers(live_cluster))
    eventually(lambda: everything_is_in_step(live_cluster))
    after = live_cluster.pids()
    assert {each for each in ROLES if after[each] != before[each]} == {role}
    assert head_of(live_cluster)["epoch"] >= written.json()["epoch"]
    kept = httpx.get(f"{live_cluster.config_url}/v1/configs/models/test/killed-{role}", timeout=60)
    assert kept.status_code == 200, kept.text


def test_ctrl_c_in_a_terminal_drains_and_stops_every_process(folder):
    port = free_ports(1, adjacent=2)[0]
    foreground = subprocess.Popen(
        [SIE, "up", "--data", folder, "--port", str(port), "--workers", "2", "--devices", "1"],
        env={**os.environ, **NO_QUESTION},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    eventually(
        lambda: foreground.poll() is not None or ((found := state.load(folder)) and found.ready),
        within_s=90,
    )
    ended = foreground.poll()
    assert ended is None, foreground.communicate()[0]
    processes = record_of(folder).processes
    assert len(processes) == 3 + 2 * 2

    # A terminal sends it to the whole group: the order of the end is the supervisor's only
    # because its children are in sessions of their own.
    assert all(os.getsid(process.pid) == process.pid for process in processes)
    os.killpg(foreground.pid, signal.SIGINT)

    output, _ = foreground.communicate(timeout=60)
    assert foreground.returncode == 0, output
    assert output.endswith("stopped\n")
    assert "killed" not in output
    assert "ended with status" not in output
    assert not [process for process in processes if process.alive]
    assert state.load(folder) is None


def test_a_killed_supervisor_leaves_processes_that_the_next_up_and_down_stop(folder):
    port = free_ports(1, adjacent=2)[0]
    up = ("up", "--data", str(folder), "--port", str(port), "--devices", "1", "--detach")
    assert sie(*up, environment=NO_QUESTION | EXPORTED).returncode == 0
    first = record_of(folder)
    os.kill(first.supervisor.pid, signal.SIGKILL)
    eventually(lambda: not first.supervisor.alive)
    assert all(process.alive for process in first.processes)

    again = sie(*up, environment=NO_QUESTION)
    assert again.returncode == 0, again.stderr
    assert not [process for process in first.processes if process.alive]

    second = record_of(folder)
    os.kill(second.supervisor.pid, signal.SIGKILL)
    eventually(lambda: not second.supervisor.alive)
    down = sie("down", "--data", str(folder))
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    assert not [process for process in second.processes if process.alive]

    nothing = sie("down", "--data", str(folder))
    assert nothing.stdout == f"no cluster runs in {folder}\n"
    assert sie("status", "--data", str(folder)).returncode == 3


def test_a_process_that_cannot_start_is_shown_with_the_end_of_its_log(folder):
    port = free_ports(1, adjacent=2)[0]
    failed = sie(
        "up",
        *("--data", str(folder), "--port", str(port)),
        environment={"SIE_CONFIG_BODY_BYTES_MAX": "many"},
    )
    assert failed.returncode == 1
    first, *shown = failed.stderr.splitlines()
    assert first.startswith("sie: config ended with status 2 while starting. The end of ")
    assert str(folder / "logs" / "config.log") in first
    assert any("SIE_CONFIG_BODY_BYTES_MAX: 'many' is not of type int" in line for line in shown)
    assert state.load(folder) is None


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_mistyped_variable_is_one_line_before_anything_starts(folder, detach):
    refused = sie("up", "--data", str(folder), *detach, environment={"SIE_GATWAY_PORT": "1"})
    assert refused.returncode == 1
    assert refused.stderr == (
        "sie: SIE_GATWAY_PORT is not a setting; did you mean SIE_GATEWAY_PORT?\n"
    )
    assert not (folder / "logs" / "nats.log").exists()


def test_a_detached_start_that_fails_says_how_and_leaves_nothing(folder):
    port = str(free_ports(1, adjacent=2)[0])
    up = ("up", "--data", str(folder), "--port", port, "--detach")
    late = sie(*up, environment={"SIE_CLUSTER_DETACH_S": "0.01"})
    assert late.returncode == 1
    assert "was not ready within 0.01 s (SIE_CLUSTER_DETACH_S)" in late.stderr
    with subprocess.Popen([SIE, *up], stderr=subprocess.PIPE, text=True) as waiting:
        supervisor = eventually(lambda: state.holder(folder))
        os.kill(supervisor.pid, signal.SIGKILL)
        _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert "the supervisor ended with status -9 before the cluster was ready" in told
    assert str(folder / "logs" / "supervisor.log") in told
    assert sie("down", "--data", str(folder)).returncode == 0
    assert state.load(folder) is None
    assert not state.marked(folder)
