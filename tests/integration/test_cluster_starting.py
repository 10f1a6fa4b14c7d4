"""A local cluster while it starts: whatever dies comes back, and whoever stops it stops all."""

import asyncio
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from tests.support.polling import until
from tests.support.toy_cluster import QUICK, ROLES, ToyCluster, toy_cluster, toy_programs

from sie_cli.access import state
from sie_cli.plan.plans import ChildPlan
from sie_cli.plan.ports import free_ports
from sie_cli.supervisor.child import Child, StartFailed
from sie_cli.supervisor.keeping import Household, Keeper
from sie_cli.supervisor.stopping import stop_cluster
from sie_schemas.errors import FixRequest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

STAGES = {
    "nats": ROLES[:2],
    "config": ROLES[:3],
    "config-asked": ROLES[:3],
    "gateway": ROLES,
    "server": ROLES,
    "worker": ROLES,
    "gateway-asked": ROLES,
}
"""The stage that holds a start up -> the roles that run by then."""


def is_back(cluster: ToyCluster, role: str, killed: int) -> bool:
    found = cluster.process(role)
    return found is not None and found.pid != killed


@pytest.mark.parametrize("stage", STAGES)
async def test_what_is_killed_at_any_stage_of_a_start_is_back_before_the_start_goes_on(
    tmp_path, stage
):
    async with toy_cluster(tmp_path, stage) as cluster:
        await until(lambda: all(cluster.process(role) for role in STAGES[stage]))
        for role in STAGES[stage]:
            killed = cluster.kill(role)
            await until(partial(is_back, cluster, role, killed.pid))
            assert any(f"{role} ended with status -9" in line for line in cluster.said)
        assert not cluster.ready.is_set()
        cluster.release(stage)
        await until(cluster.ready.is_set)
        record = cluster.record()
        assert record is not None and record.ready
        assert {each.role: each.restarts for each in record.processes} == {
            role: int(role in STAGES[stage]) for role in ROLES
        }


async def test_a_cluster_comes_up_around_a_writer_whose_log_is_in_recovery(tmp_path):
    """It waits for what the others hold: they start, and serve what they verified."""
    async with toy_cluster(tmp_path, "config-unready") as cluster:
        await until(cluster.ready.is_set)
        assert any("nothing is registered before the log is whole" in line for line in cluster.said)
        assert not (cluster.data / "seeded").exists()


@pytest.mark.parametrize("stage", STAGES)
async def test_a_wish_to_stop_at_any_stage_of_a_start_stops_everything(tmp_path, stage):
    async with toy_cluster(tmp_path, stage) as cluster:
        await until(lambda: all(cluster.process(role) for role in STAGES[stage]))
        record = cluster.record()
        assert record is not None
        cluster.stop.set()
        await cluster.running
        assert not [process for process in record.processes if process.alive]
        assert cluster.record() is None
        assert not cluster.ready.is_set()


@pytest.mark.parametrize("role", ["nats", "config", "gateway", "server", "worker"])
async def test_what_ends_by_itself_cannot_start_and_that_is_told_at_once(tmp_path, role):
    async with toy_cluster(tmp_path, refused=(role,)) as cluster:
        with pytest.raises(StartFailed, match=f"{role}.* ended with status 1 while starting") as no:
            await cluster.running
        assert f"error: the setting of {role} cannot be" in no.value.message
        assert cluster.record() is None


async def test_what_is_killed_again_and_again_is_not_waited_for_without_end(tmp_path):
    plan = ChildPlan(
        role="toy",
        argv=(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"),
        environment={},
        log=tmp_path / "toy.log",
        ready_url="http://127.0.0.1:1/",
        ready_s=1.0,
    )
    said = list[str]()
    keeper = Keeper(
        Child(plan, poll_s=0.01, log_tail_lines=3),
        Household(QUICK, said.append, on_start=lambda: None),
    )
    watch = asyncio.create_task(keeper.run())
    with pytest.raises(StartFailed, match=r"toy (ended with status -9|was not ready)"):
        await keeper.wait_ready()
    watch.cancel()
    await asyncio.wait({watch})
    # On a slow machine the last one still runs.
    keeper.child.kill()
    await keeper.child.wait_gone()
    assert all("toy ended with status -9; it is started again" in line for line in said)


def supervisor(folder: Path, port: int) -> "subprocess.Popen[str]":
    """The supervisor of a toy cluster in a process of its own, as a terminal starts it."""
    code = (
        "import sys, pathlib\n"
        "from sie_cli.plan.settings import ClusterOptions, ClusterSettings\n"
        "from sie_cli.local.supervising import run_foreground\n"
        "from tests.support.toy_cluster import QUICK\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        f"run_foreground(ClusterOptions(data=folder / 'data', port={port}, workers=1), QUICK,\n"
        "    scripts=folder / 'programs')\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        env={"TOY_FOLDER": str(folder), "PATH": "/usr/bin:/bin", "PYTHONPATH": "."},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("stage", ["the lock", "nats", "gateway"])
async def test_down_stops_a_cluster_that_has_only_begun_to_start(tmp_path, stage):
    toy_programs(tmp_path)
    data = tmp_path / "data"
    (tmp_path / "hold" / ("nats" if stage == "the lock" else stage)).touch()
    with supervisor(tmp_path, free_ports(1, adjacent=2)[0]) as running:
        await until(lambda: state.holder(data))
        if stage != "the lock":
            await until(
                lambda: (found := state.load(data)) and len(found.processes) == len(STAGES[stage]),
                within_s=30,
            )
        record = state.load(data)
        assert stop_cluster(data, QUICK)
        output, _ = running.communicate(timeout=30)
        assert (running.returncode, output.splitlines()[-1]) == (0, "stopped"), output
    assert state.load(data) is None and state.holder(data) is None
    assert record is None or not [process for process in record.processes if process.alive]
    assert not stop_cluster(data, QUICK)


async def test_a_second_up_while_the_first_one_starts_is_told_who_has_the_folder(tmp_path):
    toy_programs(tmp_path)
    (tmp_path / "hold" / "nats").touch()
    data = tmp_path / "data"
    with supervisor(tmp_path, free_ports(1, adjacent=2)[0]) as first:
        await until(lambda: state.holder(data))
        with supervisor(tmp_path, free_ports(1, adjacent=2)[0]) as second:
            told, _ = second.communicate(timeout=30)
        assert f"already runs in {data} (supervisor pid {first.pid})" in told
        assert stop_cluster(data, QUICK)
        first.communicate(timeout=30)
        assert first.returncode == 0


def test_a_lock_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "cluster.lock").mkdir()
    with pytest.raises(FixRequest, match=r"cluster\.lock cannot be opened"), state.held(tmp_path):
        pass
