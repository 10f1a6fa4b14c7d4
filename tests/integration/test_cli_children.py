"""Children and steps of the command, with small real programs in place of the cluster's."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.live_cluster import sie

from sie_cli.access.state import (
    MARK,
    ClusterState,
    ProcessRecord,
    load,
    record_process,
    save,
)
from sie_cli.local.checking import Step, run_steps
from sie_cli.main import build
from sie_cli.plan.plans import ChildPlan
from sie_cli.plan.ports import free_ports
from sie_cli.plan.settings import ClusterSettings
from sie_cli.supervisor.child import Child, StartFailed
from sie_cli.supervisor.stopping import stop_leftovers
from sie_schemas.errors import FixRequest

pytestmark = pytest.mark.integration

LISTEN = """
import http.server, signal, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""


def child_of(folder: Path, script: str, *arguments: str, ready_s: float = 20.0) -> Child:
    (port,) = free_ports(1)
    plan = ChildPlan(
        role="toy",
        argv=(sys.executable, "-c", script, str(port), *arguments),
        environment={},
        log=folder / "toy.log",
        ready_url=f"http://127.0.0.1:{port}/",
        ready_s=ready_s,
    )
    return Child(plan, poll_s=0.01, log_tail_lines=3)


async def test_a_child_that_is_killed_can_be_started_again(tmp_path):
    child = child_of(tmp_path, LISTEN)
    await child.start()
    await child.wait_ready()
    first = child.record
    child.kill()
    await child.wait_gone()
    assert not first.alive

    await child.start()
    await child.wait_ready()
    assert child.record.pid != first.pid
    assert child.record.alive
    assert await child.stop(drain_s=10)
    assert child.returncode == -signal.SIGTERM


async def test_a_child_that_ignores_the_wish_to_end_is_killed_and_that_is_told(tmp_path):
    child = child_of(tmp_path, LISTEN, "stubborn")
    await child.start()
    await child.wait_ready()
    assert not await child.stop(drain_s=0.1)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("lines", "seen"), [(2, (0, 1)), (5, (2, 3, 4))])
async def test_a_child_that_ends_early_shows_only_the_end_of_this_starts_log(tmp_path, lines, seen):
    (tmp_path / "toy.log").write_text("of an older start\n")
    writes = f"[sys.stderr.write('line %d\\n' % n) for n in range({lines})]"
    script = f"import sys; {writes}; sys.exit(7)"
    child = child_of(tmp_path, script)
    await child.start()
    with pytest.raises(StartFailed) as failure:
        await child.wait_ready()
    first, *shown = str(failure.value).splitlines()
    assert first == f"toy ended with status 7 while starting. The end of {tmp_path / 'toy.log'}:"
    assert shown == [f"    line {number}" for number in seen]


async def test_a_child_that_does_not_become_ready_in_time_is_a_failure_that_says_so(tmp_path):
    child = child_of(tmp_path, "import time; time.sleep(600)", ready_s=0.1)
    await child.start()
    with pytest.raises(StartFailed, match=r"toy was not ready within 0\.1 s"):
        await child.wait_ready()
    assert child.running
    await child.stop(drain_s=10)


@pytest.mark.skipif(sys.platform != "linux", reason="the owner of a port is read from /proc")
async def test_a_stranger_that_answers_at_its_port_is_not_taken_for_it_and_is_named(tmp_path):
    stranger = child_of(tmp_path, LISTEN)
    await stranger.start()
    await stranger.wait_ready()
    plan = dataclasses.replace(
        child_of(tmp_path, "").plan,
        argv=(sys.executable, "-c", "import time; time.sleep(600)"),
        ready_url=stranger.plan.ready_url,
        ready_s=0.5,
    )
    child = Child(plan, poll_s=0.01, log_tail_lines=3)
    await child.start()
    try:
        with pytest.raises(StartFailed, match=f"is taken by pid {stranger.record.pid} "):
            await child.wait_ready()
    finally:
        await child.stop(drain_s=10)
        await stranger.stop(drain_s=10)


async def test_a_program_that_is_not_there_is_a_failure_that_names_the_role(tmp_path):
    plan = child_of(tmp_path, "").plan
    missing = ChildPlan(
        role="toy",
        argv=(str(tmp_path / "none"),),
        environment={},
        log=plan.log,
        ready_url=plan.ready_url,
        ready_s=1,
    )
    with pytest.raises(StartFailed, match="toy could not be started"):
        await Child(missing, poll_s=0.01, log_tail_lines=2).start()


@pytest.mark.parametrize("turned", range(3))
def test_what_a_dead_supervisor_left_is_stopped_each_once_in_the_order_of_a_drain(tmp_path, turned):
    order = ["gateway", "worker-1", "worker-2", "server-1", "config", "nats"]
    recorded = order[::-1][turned:] + order[::-1][:turned]
    here = {role: subprocess.Popen(["sleep", "600"]) for role in recorded}
    marked = {**os.environ, MARK: str(tmp_path.resolve())}
    unrecorded = subprocess.Popen(["sleep", "600"], env=marked)
    try:
        state = ClusterState(
            supervisor=ProcessRecord(role="supervisor", pid=0, started="", log=""),
            ready=True,
            gateway_url="",
            config_url="",
            nats_url="",
            processes=tuple(record_process(role, here[role].pid, tmp_path) for role in recorded),
        )
        save(tmp_path, state)
        stopped = stop_leftovers(tmp_path, ClusterSettings(poll_s=0.01))
        assert [role.partition("-")[0] for role in stopped[:-1]] == [
            role.partition("-")[0] for role in order
        ]
        assert sorted(stopped) == sorted([*order, "sleep"])
        for process in (*here.values(), unrecorded):
            assert process.wait(timeout=20) == -signal.SIGTERM
        assert load(tmp_path) is None
    finally:
        for process in (*here.values(), unrecorded):
            process.kill()
            process.wait()


def python_step(name: str, script: str, *, budget_s: float = 60) -> Step:
    return Step(name, ("python", "-c", script), budget_s)


def test_steps_stop_at_the_first_failure_and_say_how_to_run_it_again(tmp_path, capfd):
    steps = (
        python_step("good", "pass"),
        python_step("bad", "raise SystemExit(3)"),
        python_step("never", "open('ran', 'w')"),
    )
    assert run_steps(steps, tmp_path) == 3
    assert not (tmp_path / "ran").exists()
    shown = capfd.readouterr().out
    assert "good: passed in" in shown
    assert "bad: FAILED" in shown
    assert "again: .venv/bin/python -c raise SystemExit(3)" in shown


def test_folders_of_tests_all_run_and_one_failure_is_the_answer(tmp_path):
    steps = (
        python_step("bad", "raise SystemExit(3)"),
        python_step("good", "open('ran', 'w')"),
    )
    assert run_steps(steps, tmp_path, to_the_end=True) == 3
    assert (tmp_path / "ran").exists()


def test_a_step_beyond_its_budget_is_ended_and_fails(tmp_path, capfd):
    slow = python_step("slow", "import time; time.sleep(600)", budget_s=0.2)
    assert run_steps((slow,), tmp_path) != 0
    assert "exceeded its 0.2 s" in capfd.readouterr().out


def test_a_tool_that_is_not_installed_is_named_with_its_cure(tmp_path):
    with pytest.raises(FixRequest, match=r"no-such-tool is not installed: pip install"):
        run_steps((Step("x", ("no-such-tool",), 1),), tmp_path)


def test_a_test_whose_tool_is_missing_is_skipped_and_fails_in_ci(tmp_path):
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "conftest.py").write_text((root / "tests/conftest.py").read_text())
    (tmp_path / "test_toy.py").write_text(
        "import pytest\n@pytest.mark.tool('no-such-tool')\ndef test_toy(): pass\n"
    )
    config = ("-c", str(root / "pyproject.toml"), "--rootdir", str(tmp_path))
    arguments = ("test", *config, str(tmp_path))
    here = {"PYTHONPATH": str(root)}
    skipped = sie(*arguments, environment={**here, "CI": ""})
    assert (skipped.returncode, "1 skipped" in skipped.stdout) == (0, True), skipped.stdout
    failed = sie(*arguments, environment={**here, "CI": "true"})
    assert (failed.returncode, "missing tool: no-such-tool" in failed.stdout) == (1, True)


def test_every_command_is_found_by_its_entry_point():
    names = {command.name for command in build().registered_commands}
    assert {"up", "down", "status", "demo", "test", "check"} <= names


def test_help_needs_no_heavy_module():
    heavy = ("httpx", "numpy", "torch", "nats", "asyncio")
    script = (
        "import sys; from sie_cli.main import build; build(); "
        f"sys.exit(str([name for name in {heavy!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr == "[]\n"
