"""The chaos table: every fault on a real cluster under load, and what it cost.

*shell.* Some faults follow each other on one cluster. A row that breaks a bound is followed by a
fresh one, so that what it left does not colour the next. Each row waits for a steady cluster,
strikes and mends. It waits until everything is served in time and every replica is where the writer
is. Then it holds acknowledgements and answers against the log itself.
"""

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sie_testing.chaos import (
    of_clocks,
    of_copies,
    of_disks,
    of_links,
    of_operators,
    of_processes,
    of_strangers,
)
from sie_testing.chaos.observe import STEADY_S, longest_wait, served_again, waited_on
from sie_testing.chaos.scene import TOKENS, Fault, NotHere, Scene
from sie_testing.chaos.table import Row, broken, worst
from sie_testing.processes.cluster import Cluster
from sie_testing.processes.judge import Judge
from sie_testing.processes.load import Load
from sie_testing.processes.writes import quiet_write, setup_writes

__all__ = ["ASKERS", "FAULTS", "REPLICAS", "run_chaos"]

FAULTS: Final = (
    *of_processes.FAULTS,
    *of_links.FAULTS,
    *of_disks.FAULTS,
    *of_copies.FAULTS,
    *of_clocks.FAULTS,
    *of_operators.FAULTS,
    *of_strangers.FAULTS,
)
"""In the order of the table."""
REPLICAS: Final = 4
ASKERS: Final = 4
_START_S: Final = 90.0
_STEADY_MAX_S: Final = 60.0
_LATE_S: Final = 15.0
"""Beyond the gateways' limit, for a row to become steady again."""
_GATEWAY: Final = "gateway"
_ROWS_MAX: Final = 12
"""On one cluster: its log grows with each, and what takes time by its length is unfair then."""


@dataclass(kw_only=True)
class Chaos:
    """The settings of a run; a test has its own."""

    faults: Sequence[Fault]
    shipped: bool = True
    say: Callable[[str], None] = print
    judge: Callable[[Cluster, Load], Judge] = lambda cluster, load: Judge(cluster, load, {})
    until: float = 0.0
    """On the monotonic clock: the faults begin again until then."""


def run_chaos(chaos: Chaos) -> list[Row]:
    """One row for each fault, the worst of its runs."""
    return asyncio.run(_whole(chaos))


async def _whole(chaos: Chaos) -> list[Row]:
    rows: dict[str, list[Row]] = {fault.name: [] for fault in chaos.faults}
    while True:
        for needs in dict.fromkeys(_needs(fault) for fault in chaos.faults):
            faults = [fault for fault in chaos.faults if _needs(fault) == needs]
            while faults:
                faults = await _one_cluster(chaos, faults, rows)
        if time.monotonic() >= chaos.until:
            return [worst(found) for found in rows.values()]


def _needs(fault: Fault) -> tuple[str, bool]:
    """The things that a cluster has to have for a fault: those that need the same share one."""
    return fault.small_disk, fault.moves_clocks


async def _one_cluster(
    chaos: Chaos, faults: list[Fault], rows: dict[str, list[Row]]
) -> list[Fault]:
    """Run faults that need the same until one breaks a bound; those that are left."""
    left = list(faults)
    try:
        async with _cluster(chaos, faults[0]) as scene:
            for _ in range(_ROWS_MAX):
                if not left:
                    break
                fault = left.pop(0)
                row = await _row(scene, fault)
                rows[fault.name].append(row)
                verdicts = broken(row, serves_s=fault.serves_s)
                chaos.say(_told(row, verdicts))
                if verdicts:
                    _tell_logs(scene, chaos.say)
                    break
    except NotHere as error:
        for fault in left:
            rows[fault.name].append(
                Row(fault=fault.name, done=fault.done, trouble=str(error), skipped=True)
            )
        return []
    return left


def _told(row: Row, verdicts: Sequence[str]) -> str:
    def seconds(value: float | None) -> str:
        return "never" if value is None else f"{value:.1f} s"

    told = (
        f"{row.fault}: requests again {seconds(row.requests_again_s)}, writes again "
        f"{seconds(row.writes_again_s)}, longest {row.longest_wait_s:.1f} s"
    )
    if row.redelivery_s is not None:
        told += f", redelivery {row.redelivery_s:.1f} s"
    return told + "".join(f"\n  BROKEN: {verdict}" for verdict in verdicts)


def _tell_logs(scene: Scene, say: Callable[[str], None]) -> None:
    for name, program in scene.cluster.programs.items():
        for line in program.complaints()[-4:]:
            say(f"  {name}: {line[:300]}")


# -- one cluster --


@contextlib.asynccontextmanager
async def _cluster(chaos: Chaos, fault: Fault) -> AsyncIterator[Scene]:
    """A cluster that has what a fault needs."""
    folder = Path(tempfile.mkdtemp(prefix="sie-chaos-"))
    cluster = Cluster(
        folder,
        replicas=REPLICAS,
        say=lambda _who, _what: None,
        shipped=chaos.shipped,
        tokens=TOKENS,
        moves_clocks=fault.moves_clocks,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if fault.small_disk:
            stack.enter_context(_disk(folder / fault.small_disk))
        stack.push_async_callback(cluster.close)
        await cluster.open()
        load = Load(cluster, 0, askers=ASKERS, drawn=quiet_write)
        stack.push_async_callback(load.close)
        scene = Scene(cluster, load, chaos.judge(cluster, load))
        stack.push_async_callback(scene.close)
        await cluster.start()
        if not await scene.until(scene.writes, _START_S):
            _tell_logs(scene, chaos.say)
            raise RuntimeError("the cluster does not start")
        for call in setup_writes():
            await load.write(call)
        tasks = [
            asyncio.create_task(each)
            for each in (load.write_all(), load.ask_all(), scene.supervise())
        ]
        try:
            yield scene
        finally:
            await scene.let_go()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """A small disk in memory at a folder, where this user may have one."""
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={of_disks.DISK_BYTES},mode=700", "tmpfs"]
    try:
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotHere("there is no `mount` here") from None
    if done.returncode:
        raise NotHere(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


# -- one row --


async def _row(scene: Scene, fault: Fault) -> Row:
    load = scene.load
    limit_s = scene.cluster.request_timeout_s + _LATE_S
    why = await scene.steady(_STEADY_MAX_S)
    if why:
        return Row(fault=fault.name, done=fault.done, trouble=f"not steady before it: {why}")
    wrong, hung = len(load.wrong), len(load.hung)
    acknowledged, answered = len(load.acknowledged), len(load.answered)
    load.calls.clear()
    trouble = await _tried(fault.strike, scene)
    struck = since = scene.struck_at
    if fault.mend is not None:
        await asyncio.sleep(fault.lasts_s)
        since = time.monotonic()
        trouble = trouble or await _tried(fault.mend, scene)
    await asyncio.sleep(STEADY_S)
    why = await scene.steady(limit_s)
    now = time.monotonic()
    pending = [began for _, began in load.open.values() if now - began > limit_s]
    answered = len(load.answered) - answered
    lost, misled = await scene.judge.lost_and_wrong()
    told = [*load.wrong[wrong:], *load.hung[hung:], *misled]
    load.answered.clear()
    await scene.let_go()
    return Row(
        fault=fault.name,
        done=fault.done,
        acknowledged=len(load.acknowledged) - acknowledged,
        lost=len(lost),
        answered=answered,
        refused=sum(not call.served for call in load.calls),
        wrong=len(load.wrong) - wrong + len(misled),
        hung=len(load.hung) - hung + len(pending),
        requests_again_s=None if why else served_again(load.calls, _GATEWAY, since),
        writes_again_s=None if why else served_again(load.calls, "config", since),
        longest_wait_s=longest_wait(load.calls, _GATEWAY, struck),
        redelivery_s=waited_on(load.calls, _GATEWAY, struck) if fault.worker_dies else None,
        trouble=trouble or (why and f"not steady after it: {why}") or next(iter(told), ""),
    )


async def _tried(step: Callable[[Scene], Awaitable[None]], scene: Scene) -> str:
    """Do a step of a fault; what went wrong with it."""
    try:
        await step(scene)
    except Exception as error:
        # Whatever it was is what the row has to say.
        return f"{type(error).__name__}: {error}"
    return ""
