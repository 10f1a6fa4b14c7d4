"""Signs of life: the replicas that were quiet are asked for one while somebody looks.

*shell.* The broker says at once that nobody listens under a name, so a killed replica is noted as
gone long before its silence tells. One that is slow, or hangs with its connection open, never is.
Nor is one that is on its way back after the broker was restarted. Where one of several brokers is
lost, who was there is told as gone until it has found another: 2 s at most.
Promises that looks are shared, bounded in number and in time, and that nothing is asked while
nobody looks.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import Final

from sie_config.replicas.reports import Reports
from sie_runtime.broker.bus import Bus, NoResponders
from sie_schemas.errors import SIEError

__all__ = ["LifeSigns"]

_NOTHING: Final = b'{"after":0,"until":0}'
"""A request for no entries: the least that a replica answers."""
_QUIET_S: Final = 0.75
"""A replica that said nothing for so long is asked: a killed one shows within 2 s."""
_WITHIN_S: Final = 0.15
"""The broker's word that nobody listens takes milliseconds, and only that word counts."""
_AGAIN_S: Final = 0.3
"""Longer than the 0.2 s between a replica's attempts to reach another broker."""
_SETTLE_S: Final = 3.0
"""After a broker's restart replicas come back in turn: one attempt takes 2 s at most, and the next
begins 0.2 s later."""
_PAUSE_S: Final = 0.25
"""Least time between looks: with 256 questions each, a flood of readers costs 1,024 a second."""
_ASKED_MAX: Final = 256
"""Questions of one look, those first that waited longest. Of 1,000 replicas that report every 2.25
s some 110 are older than 2 s at any time. So one that was killed is asked by the first look."""


class LifeSigns:
    """Owner: the control plane."""

    def __init__(
        self,
        bus: Bus | None,
        reports: Reports,
        *,
        clock: Callable[[], float],
        again_s: float = _AGAIN_S,
        settle_s: float = _SETTLE_S,
        within_s: float = _WITHIN_S,
        asked_max: int = _ASKED_MAX,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bus = bus
        self._reports = reports
        self._clock = clock
        self._again_s = again_s
        self._settle_s = settle_s
        self._within_s = within_s
        self._asked_max = asked_max
        self._sleep = sleep
        self._looked_at: dict[tuple[str, str], float] = {}
        self._settled_at = float("-inf")
        self._began_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        if bus is not None:
            bus.on_reconnect(self._reconnected)

    async def look(self) -> None:
        """Ask those that were quiet, who waited longest first; done within a second.

        A caller that comes during a look, or just after one, shares it.
        """
        if self._bus is None:
            return
        now = self._clock()
        if self._looking is None or (self._looking.done() and now - self._began_at >= _PAUSE_S):
            self._began_at = now
            self._looking = asyncio.create_task(self._look(), name="signs-of-life")
        # Whoever leaves must not take the answer from the others.
        await asyncio.shield(self._looking)

    def _reconnected(self) -> None:
        self._settled_at = self._clock() + self._settle_s

    async def _look(self) -> None:
        now = self._clock()
        quiet = self._reports.quiet(now, _QUIET_S)
        last = {name: max(at, self._looked_at.get(name, at)) for name, at in quiet.items()}
        # Only of those still quiet: names of pods never come back.
        self._looked_at = {name: at for name, at in self._looked_at.items() if name in quiet}
        due = [name for name, at in last.items() if now - at >= _QUIET_S]
        due = heapq.nsmallest(self._asked_max, due, key=lambda name: last[name])
        self._looked_at |= dict.fromkeys(due, now)
        doubted = await self._unheard(due)
        if doubted:
            await self._sleep(self._again_s)
            for role, replica in await self._unheard(doubted):
                if self._clock() >= self._settled_at:
                    self._reports.kept.note_gone(role, replica, asked_at=now)

    async def _unheard(self, names: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of these under whose name nobody listens, by the broker's word."""
        found = await asyncio.gather(*(self._is_unheard(*name) for name in names))
        return [name for name, unheard in zip(names, found, strict=True) if unheard]

    async def _is_unheard(self, role: str, replica: str) -> bool:
        assert self._bus is not None
        subject = f"sie.config.tail.{role}.{replica}"
        try:
            await self._bus.request(subject, _NOTHING, timeout_s=self._within_s)
        except NoResponders:
            return True
        except SIEError:
            return False
        return False
