"""The watch: keeps the fleet current from the heartbeats on the bus.

*shell.* Owns the one `Fleet` of the process and the clock that it is read by. Promises that a
reader gets a whole fleet, never one in the middle of a change. Decides nothing.
"""

import asyncio

from sie_gateway import metrics
from sie_gateway.dispatch import Incoming, ResultBus, Subscribed
from sie_gateway.fleet import Fleet
from sie_schemas.fleet import HEARTBEAT_DECODER, Heartbeat
from sie_schemas.malformed import MALFORMED

__all__ = ["FleetWatch"]


class FleetWatch:
    """The fleet as this gateway hears it. `settle_s` is how long silence says nothing yet."""

    def __init__(self, bus: ResultBus, *, ttl_s: float, settle_s: float) -> None:
        self._bus = bus
        self._settle_s = settle_s
        self._hearing_since: float | None = None
        self._subscription: Subscribed | None = None
        self.fleet = Fleet(ttl_s)

    def now(self) -> float:
        """The clock of the fleet: monotonic, in seconds."""
        return asyncio.get_running_loop().time()

    def live(self) -> list[Heartbeat]:
        """The workers that are alive now."""
        return self.fleet.live(now=self.now())

    @property
    def settled(self) -> bool:
        """Has every live worker had the time to be heard since this process began to listen?"""
        return self._hearing_since is not None and (
            bool(self.fleet.seen) or self.now() - self._hearing_since >= self._settle_s
        )

    def begin(self) -> None:
        """The bus is connected: from now on silence means something. Repeats are harmless."""
        if self._hearing_since is None:
            self._hearing_since = self.now()

    async def open(self) -> None:
        """Subscribe to the heartbeats."""
        self._subscription = await self._bus.subscribe("sie.health.*", self._receive)

    async def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    def _receive(self, message: Incoming) -> None:
        try:
            heartbeat = HEARTBEAT_DECODER.decode(message.data)
        except MALFORMED:
            metrics.MALFORMED_MESSAGES.labels("heartbeat").inc()
            return
        self.fleet = self.fleet.heard(heartbeat, now=self.now())
        metrics.WORKERS_LIVE.set(len(self.fleet.seen))
