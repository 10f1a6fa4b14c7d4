"""Spawners: what they make is as what was started alone, and does not outlive them unseen."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.support.polling import until

from sie_cli.access.state import start_time
from sie_cli.plan.plans import ChildPlan, SpawnerPlan
from sie_cli.plan.ports import free_ports
from sie_cli.supervisor.child import Child
from sie_cli.supervisor.spawners import Spawners
from sie_runtime.process.spawning import Told, Wanted

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

TOY = """
import pathlib, select, sys, time
from sie_runtime.process.spawning import Spawner
spawner = Spawner()
exec(sys.argv[2])
print("what an import prints", flush=True)
hold = pathlib.Path(sys.argv[1])
if hold.exists():
    select.select([0], [], [])
    print("asked", flush=True)
while hold.exists():
    time.sleep(0.01)
if spawner.serve():
    exec(sys.argv[1])
"""
TELLS = (
    "import os; print(os.getsid(0) == os.getpid(), os.environ, sys.argv[1:], os.read(0, 1),"
    " sorted(os.listdir('/proc/self/fd'))[:-1], len(os.listdir('/proc/self/task')), flush=True);"
    "print('to stderr', file=sys.stderr); sys.exit(7)"
)
SLEEPS = "import pathlib; print('here', flush=True); time.sleep(600)"


@pytest.fixture
async def spawners() -> AsyncIterator[Spawners]:
    made = Spawners()
    yield made
    await made.close()


def toy(folder: Path, code: str = "") -> SpawnerPlan:
    """A spawner that has imported nothing, and makes nothing while there is a file `hold`.

    It runs some `code` before."""
    return SpawnerPlan(
        argv=(sys.executable, "-c", TOY, str(folder / "hold"), code),
        environment=dict(os.environ),
        log=folder / "spawner.log",
    )


def child(folder: Path, code: str, *, log: str = "child.log", ready_s: float = 20.0) -> ChildPlan:
    return ChildPlan(
        role="toy",
        argv=("toy", code),
        environment={"ONLY": "this"},
        log=folder / log,
        ready_url="",
        ready_s=ready_s,
    )


async def test_what_is_made_is_as_a_process_that_was_started_alone(tmp_path, spawners):
    process = await spawners.make(child(tmp_path, TELLS), toy(tmp_path))
    assert await process.wait() == 7
    assert process.returncode == 7
    environment = "environ({'ONLY': 'this'})"
    assert (tmp_path / "child.log").read_text().splitlines() == [
        f"True {environment} {[TELLS]} b'' ['0', '1', '2'] 1",
        "to stderr",
    ]
    assert "what an import prints" in (tmp_path / "spawner.log").read_text()


async def test_a_signal_reaches_it_and_its_end_is_told(tmp_path, spawners):
    process = await spawners.make(child(tmp_path, SLEEPS), toy(tmp_path))
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        process.send_signal(signal.SIGTERM)


async def test_what_cannot_be_made_says_why_and_the_next_is_made(tmp_path, spawners):
    with pytest.raises(OSError, match="No such file"):
        await spawners.make(child(tmp_path, SLEEPS, log="none/child.log"), toy(tmp_path))
    assert (await spawners.make(child(tmp_path, SLEEPS), toy(tmp_path))).returncode is None


async def test_a_spawner_that_cannot_start_is_an_error_each_time(tmp_path, spawners):
    broken = SpawnerPlan(
        argv=(sys.executable, "-c", "raise SystemExit(3)"),
        environment={},
        log=tmp_path / "spawner.log",
    )
    for _ in range(2):
        with pytest.raises(OSError, match="ended with status 3"):
            await spawners.make(child(tmp_path, SLEEPS), broken)


async def test_a_spawner_that_takes_too_long_is_an_error_that_names_its_log(tmp_path, spawners):
    (tmp_path / "hold").touch()
    with pytest.raises(OSError, match=r"took more than 0\.05 s \(log: .*spawner\.log"):
        await spawners.make(child(tmp_path, SLEEPS, ready_s=0.05), toy(tmp_path))


async def test_what_was_made_ends_with_its_spawner_and_the_next_has_another(tmp_path, spawners):
    first = await spawners.make(child(tmp_path, SLEEPS), toy(tmp_path))
    spawner = parent_of(first.pid)
    os.kill(spawner, signal.SIGKILL)
    assert await first.wait() == -signal.SIGKILL
    await until(lambda: start_time(first.pid) is None)
    second = await spawners.make(child(tmp_path, SLEEPS), toy(tmp_path))
    assert parent_of(second.pid) != spawner


async def test_whoever_stops_waiting_leaves_no_process_behind(tmp_path, spawners):
    (tmp_path / "hold").touch()
    asked = asyncio.create_task(spawners.make(child(tmp_path, SLEEPS), toy(tmp_path)))
    said = tmp_path / "spawner.log"
    # It runs before whoever started it knows of it, and may be cancelled in between.
    await until(lambda: said.exists() and "asked" in said.read_text())
    asked.cancel()
    await asyncio.wait({asked})
    (tmp_path / "hold").unlink()
    other = await spawners.make(child(tmp_path, SLEEPS, log="other.log"), toy(tmp_path))
    await until(lambda: children_of(parent_of(other.pid)) == [other.pid])


async def test_whoever_stops_waiting_for_what_has_ended_already_hinders_nobody(tmp_path, spawners):
    of_nobody = (
        f"fork, ids = os.fork, [{2**22 + 1}]; os.fork = lambda: ids.pop() if ids else fork()"
    )
    plan = toy(tmp_path, f"import os; {of_nobody}")
    (tmp_path / "hold").touch()
    asked = asyncio.create_task(spawners.make(child(tmp_path, SLEEPS), plan))
    said = tmp_path / "spawner.log"
    # It runs before whoever started it knows of it, and may be cancelled in between.
    await until(lambda: said.exists() and "asked" in said.read_text())
    asked.cancel()
    await asyncio.wait({asked})
    (tmp_path / "hold").unlink()
    other = await spawners.make(child(tmp_path, SLEEPS, ready_s=5), plan)
    assert children_of(parent_of(other.pid)) == [other.pid]


async def test_whoever_stops_waiting_at_any_moment_hinders_nobody(tmp_path, spawners):
    # From before its start to its answer there are as many turns of the loop as this, or fewer.
    for turns in range(12):
        asked = asyncio.create_task(spawners.make(child(tmp_path, SLEEPS), toy(tmp_path)))
        for _ in range(turns):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait({asked})
    other = await spawners.make(child(tmp_path, SLEEPS), toy(tmp_path))
    await until(lambda: children_of(parent_of(other.pid)) == [other.pid])
    await spawners.close()
    # They have their signal by now, and end when the system lets them.
    await until(lambda: not running_toys(tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [
        r"os.write(spawner._answers, b'no answer\n')",
        r"""os.write(spawner._answers, b'{"type":"Ended","pid":1,"status":0}\n')""",
        "os.kill(os.getpid(), 9)",
    ],
    ids=["no answer", "of nobody", "it dies first"],
)
async def test_a_spawner_that_says_what_is_no_answer_is_ended(tmp_path, spawners, wrong):
    plan = toy(
        tmp_path,
        f"import os; tell = spawner._tell; spawner._tell = lambda told: ({wrong}, tell(told))",
    )
    with pytest.raises(OSError, match=f"ended with status -{signal.SIGKILL.value}"):
        await spawners.make(child(tmp_path, SLEEPS), plan)
    # What it had made by then is of its command line, and ends with it.
    await until(lambda: not running_toys(tmp_path))


async def test_what_fails_in_the_new_process_ends_it_and_makes_no_second_spawner(
    tmp_path, spawners
):
    # There is no environment variable without a name.
    bad = replace(child(tmp_path, SLEEPS), environment={"": "this"})
    assert await (await spawners.make(bad, toy(tmp_path))).wait() == os.EX_OSERR
    other = await spawners.make(child(tmp_path, SLEEPS), toy(tmp_path))
    assert children_of(parent_of(other.pid)) == [other.pid]


async def test_one_that_has_no_session_of_its_own_yet_can_be_killed(tmp_path, spawners):
    spawner = toy(tmp_path, "import os; os.setsid = lambda: None")
    plan = replace(child(tmp_path, SLEEPS), spawner=spawner)
    begun = Child(plan, poll_s=0.01, log_tail_lines=5, spawners=spawners)
    await begun.start()
    begun.kill()
    async with asyncio.timeout(60):
        await begun.wait_gone()
    assert begun.returncode == -signal.SIGKILL


async def test_closing_ends_what_runs_and_what_is_about_to(tmp_path, spawners):
    running = await spawners.make(child(tmp_path, SLEEPS), toy(tmp_path))
    await spawners.close()
    assert running.returncode == -signal.SIGKILL
    await until(lambda: start_time(running.pid) is None)


def test_a_spawner_that_nobody_can_ask_any_more_waits_for_what_it_made(tmp_path):
    plan = toy(tmp_path)
    with subprocess.Popen(plan.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as spawner:
        assert spawner.stdin is not None and spawner.stdout is not None
        wanted = Wanted(id=1, argv=("toy", SLEEPS), environment={}, log=str(tmp_path / "child.log"))
        spawner.stdin.write(msgspec.json.encode(wanted) + b"\n")
        spawner.stdin.close()
        begun = msgspec.json.decode(spawner.stdout.readline(), type=Told)
        os.kill(begun.pid, 0)
        assert spawner.poll() is None
        os.kill(begun.pid, signal.SIGTERM)
        ended = msgspec.json.decode(spawner.stdout.readline(), type=Told)
        assert (ended.pid, ended.status) == (begun.pid, -signal.SIGTERM)
        assert spawner.wait(20) == 0


async def test_that_of_model_execution_has_no_thread_to_lose_and_makes_servers(tmp_path, spawners):
    scripts, port = Path(sys.executable).parent, free_ports(1)[0]
    spawner = SpawnerPlan(
        argv=(str(scripts / "sie-server-spawner"),),
        environment=dict(os.environ),
        log=tmp_path / "spawner.log",
    )
    plan = ChildPlan(
        role="server-0",
        argv=("sie-server", "--socket", str(tmp_path / "s.sock"), "--port", str(port)),
        environment=dict(os.environ),
        log=tmp_path / "server.log",
        ready_url=f"http://127.0.0.1:{port}/readyz",
        ready_s=80,
        spawner=spawner,
    )
    server = Child(plan, poll_s=0.01, log_tail_lines=5, spawners=spawners)
    await server.start()
    assert threads_of(parent_of(server.record.pid)) == 1
    await server.wait_ready()
    assert await server.stop(drain_s=20)
    assert server.returncode == 0


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def running_toys(folder: Path) -> list[int]:
    """The toy spawners of a folder, and what they made."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if os.fsencode(folder / "hold") in each.read_bytes().split(b"\0"):
                found.append(int(each.parent.name))
    return found


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
