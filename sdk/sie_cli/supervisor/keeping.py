"""Keeps one process of the local cluster running, from its first start on.

*shell.* Owns the watch over a child. Promises:

- A child that dies is started again, after a growing pause, also while the cluster comes up.
- Whoever waits for it hears of its readiness through all of its lives.
- A child that cannot start is a failure, and no loop that nobody sees. It cannot start if it ends
  by itself, with nobody around it having died, or takes too long.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from sie_cli.plan.settings import ClusterSettings
from sie_cli.supervisor.child import Child, StartFailed

__all__ = ["Household", "Keeper"]


@dataclass(slots=True)
class Household:
    """The things that the keepers of one cluster share."""

    settings: ClusterSettings
    say: Callable[[str], None]
    on_start: Callable[[], object]
    """Called after each start of a process."""
    deaths: int = 0
    """Of any of its processes: who needs a dead one may end for that alone."""


class Keeper:
    """The watch over one child. `run` is one task; the child is not stopped with it."""

    def __init__(self, child: Child, household: Household) -> None:
        self.child = child
        self._household = household
        self._is_ready = False
        self._failure: StartFailed | None = None
        self._changed = asyncio.Event()
        self._began = 0.0
        self._was_ready = False

    async def run(self) -> None:
        """Start the child, and again whenever it dies, until cancelled."""
        settings, say = self._household.settings, self._household.say
        pause_s = settings.restart_min_s
        self._began = time.monotonic()
        while True:
            born = time.monotonic()
            deaths_before = self._household.deaths
            if await self._start():
                await self._live()
            if time.monotonic() - born >= settings.healthy_s:
                pause_s = settings.restart_min_s
            self._judge(others_died=self._household.deaths > deaths_before)
            self._household.deaths += 1
            if self._failure is None:
                say(
                    f"{self.child.plan.role} ended with status {self.child.returncode}; it is "
                    f"started again in {pause_s:g} s (log: {self.child.plan.log})"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, settings.restart_max_s)
            self.child.restarts += 1

    async def wait_ready(self) -> None:
        """Wait until it is ready. Raises `StartFailed` when it cannot start."""
        while not self._is_ready:
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()

    async def _start(self) -> bool:
        try:
            await self.child.start()
        except StartFailed as failure:
            self._fail(failure)
            return False
        finally:
            self._household.on_start()
        return True

    async def _live(self) -> None:
        """One life: until it is ready, then until it is gone."""
        while not self._is_ready:
            try:
                await self.child.wait_ready(within_s=self._patience_s())
            except StartFailed as failure:
                if self.child.returncode is not None:
                    return
                # It took too long. It may come yet, and is watched on.
                self._fail(failure)
            else:
                self._became_ready()
        await self.child.wait_gone()
        self._is_ready = False

    def _patience_s(self) -> float:
        """Until the first readiness all lives share the time of one start."""
        ready_s = self.child.plan.ready_s
        if self._was_ready or self._failure is not None:
            return ready_s
        return max(0.0, ready_s - (time.monotonic() - self._began))

    def _became_ready(self) -> None:
        self._is_ready, self._was_ready, self._failure = True, True, None
        if self.child.restarts:
            self._household.say(f"{self.child.plan.role} is ready again")
        self._tell()

    def _judge(self, *, others_died: bool) -> None:
        """Judge whether a child that died before it was ever ready can start at all."""
        returncode = self.child.returncode
        if self._was_ready or self._failure is not None or returncode is None:
            return
        was_killed = returncode < 0
        in_time = time.monotonic() - self._began < self.child.plan.ready_s
        if not ((was_killed or others_died) and in_time):
            self._fail(self.child.failure(f"ended with status {returncode} while starting"))

    def _fail(self, failure: StartFailed) -> None:
        if self._was_ready:
            self._household.say(failure.message)
            return
        if self._failure is None:
            self._failure = failure
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
