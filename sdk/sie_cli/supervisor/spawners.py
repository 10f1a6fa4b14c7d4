"""The spawners of a local cluster, and the processes that they make.

*shell.* Owns each spawner from the first process that is asked of it. Promises that what a spawner
made does not outlive it: nobody would hear of its end. So all of them are killed when it is gone,
and the next that is asked for starts a new spawner.
"""

import asyncio
import os
import signal
from contextlib import suppress
from itertools import count
from typing import Protocol

import msgspec

from sie_cli.access.private_files import open_to_append
from sie_cli.access.state import start_time
from sie_cli.plan.plans import ChildPlan, SpawnerPlan
from sie_runtime.process.spawning import Begun, Ended, NotBegun, Told, Wanted
from sie_schemas.malformed import MALFORMED

__all__ = ["Process", "Spawners"]


class Process(Protocol):
    """A process that was started, as asyncio has it."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def returncode(self) -> int | None:
        """The status with which it ended; None while it runs."""

    async def wait(self) -> int:
        """Wait until it has ended."""

    def send_signal(self, signal: int, /) -> None:
        """Signal it. Raises `ProcessLookupError`."""


class _Spawned:
    """A process that a spawner made: its end is heard of, not waited for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._started = start_time(pid)
        self._over = asyncio.Event()

    async def wait(self) -> int:
        await self._over.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, signal: int, /) -> None:
        # The word of its end may be on its way, and its id somebody else's by now.
        if start_time(self.pid) != self._started:
            raise ProcessLookupError(self.pid)
        os.kill(self.pid, signal)

    def ended(self, status: int) -> None:
        self.returncode = status
        self._over.set()


class _Spawner:
    """One spawner, from its start to its end."""

    def __init__(self, plan: SpawnerPlan, process: asyncio.subprocess.Process) -> None:
        self._plan = plan
        self._process = process
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Process]] = {}
        self._living: dict[int, _Spawned] = {}
        self._hearing = asyncio.create_task(self._hear())

    @property
    def over(self) -> bool:
        """True if it makes no more."""
        return self._hearing.done()

    async def make(self, plan: ChildPlan) -> Process:
        """Have it make a process. Raises `OSError`."""
        wanted = Wanted(
            id=next(self._ids),
            argv=plan.argv,
            environment=dict(plan.environment),
            log=str(plan.log),
        )
        answer: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._waiting[wanted.id] = answer
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(wanted) + b"\n")
        return await answer

    async def close(self) -> None:
        """End it, and whatever it made that still runs."""
        self._kill()
        await asyncio.wait({self._hearing})

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                self._take(msgspec.json.decode(line, type=Told))
        except BaseException as error:
            # It lives on, and nobody hears it any more. One that ended by itself is not killed:
            # that would take its status from who waits for it.
            self._kill()
            await self._hear_of_the_last()
            # After a line that answers nothing it is unknown what it did.
            if not isinstance(error, (*MALFORMED, ValueError, KeyError)):
                raise
        finally:
            status = await self._process.wait()
            for each in self._living.values():
                with suppress(ProcessLookupError):
                    each.send_signal(signal.SIGKILL)
                each.ended(-signal.SIGKILL)
            for answer in self._waiting.values():
                if answer.cancelled():
                    continue
                answer.set_exception(
                    OSError(f"its spawner ended with status {status} (log: {self._plan.log})")
                )

    async def _hear_of_the_last(self) -> None:
        """Know what else it made before it was killed: that would be left behind."""
        assert self._process.stdout is not None
        for line in (await self._process.stdout.read()).splitlines():
            with suppress(*MALFORMED):
                told = msgspec.json.decode(line, type=Told)
                if isinstance(told, Begun):
                    self._living[told.pid] = _Spawned(told.pid)

    def _take(self, told: Told) -> None:
        if isinstance(told, Ended):
            self._living.pop(told.pid).ended(told.status)
            return
        answer = self._waiting.pop(told.id)
        if isinstance(told, NotBegun):
            if not answer.cancelled():
                answer.set_exception(OSError(told.why))
            return
        process = self._living[told.pid] = _Spawned(told.pid)
        if answer.cancelled():
            # Whoever asked is gone: nobody would end it, if it has not ended by itself.
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        else:
            answer.set_result(process)


class Spawners:
    """The spawners of one cluster, by their command."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, ...], _Spawner] = {}
        # Devices start together, and each would have a spawner of its own: a second device costs
        # 13 MiB beside one that is shared, and 294 without.
        self._starting = asyncio.Lock()

    async def make(self, plan: ChildPlan, spawner: SpawnerPlan) -> Process:
        """Have a process made, within the time that it may take to be ready.

        Raises `OSError`, with the reason.
        """
        try:
            async with asyncio.timeout(plan.ready_s):
                async with self._starting:
                    found = self._running.get(spawner.argv)
                    if found is None or found.over:
                        found = self._running[spawner.argv] = await _start(spawner)
                return await found.make(plan)
        except TimeoutError as error:
            raise OSError(
                f"its spawner took more than {plan.ready_s:g} s (log: {spawner.log})"
            ) from error

    async def close(self) -> None:
        """End all spawners, and what they made."""
        for spawner in self._running.values():
            await spawner.close()
        self._running.clear()


async def _start(plan: SpawnerPlan) -> _Spawner:
    log = open_to_append(plan.log)
    try:
        process = await asyncio.create_subprocess_exec(
            *plan.argv,
            env=dict(plan.environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    return _Spawner(plan, process)
