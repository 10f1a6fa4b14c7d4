"""The watch: keeps the fleet current from the heartbeats on the bus.

*shell.* Owns the one `Fleet` of the process and the clock that it is read by. Promises that a
reader never meets a fleet in the middle of a change: nothing awaits there. Silence is taken for
absence only where it can be: not before the workers had time to be heard, nor without the broker.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, Final

from sie_gateway import metrics
from sie_gateway.fleet.fleet import HEARTBEAT_BYTES_MAX, Fleet
from sie_gateway.fleet.lives import Life, Lives
from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.broker.protocols import Incoming, ResultBus, Subscribed
from sie_schemas.errors import Later
from sie_schemas.fleet import HEARTBEAT_DECODER, Heartbeat, WorkerKind
from sie_schemas.malformed import MALFORMED

__all__ = ["FleetWatch"]


class FleetWatch:
    """The fleet as this gateway hears it. `settle_s` is how long silence says nothing yet."""

    def __init__(self, bus: ResultBus, *, ttl_s: float, settle_s: float, lives: Lives) -> None:
        self._bus = bus
        self._settle_s = settle_s
        self._began_at: float | None = None
        self._connected_at: float | None = None
        self._subscription: Subscribed | None = None
        self._more = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.fleet: Final = Fleet(ttl_s)
        self.lives = lives

    def now(self) -> float:
        """The clock of the fleet: monotonic, in seconds."""
        if self._loop is None:
            # Asked once: up to Python 3.11 each time takes a call into the system.
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def live(self) -> list[Heartbeat]:
        """The workers that are alive now."""
        return self.fleet.live(now=self.now())

    def clocks(self) -> dict[str, float]:
        """The seconds that each live worker's clock is ahead of this process's."""
        return self.fleet.clocks(now=self.now())

    @property
    def settled(self) -> bool:
        """True if a worker was heard since this process began to listen, or had the time to be."""
        return self._began_at is not None and (
            bool(self.fleet.seen) or self.now() - self._began_at >= self._settle_s
        )

    @property
    def hears(self) -> bool:
        """True if the broker is there: without it the silence of workers says nothing."""
        return self._bus.connected

    def check_hearing(self) -> None:
        """Raises `Later` where it says nothing that a worker was not heard."""
        if not self.hears:
            raise BusUnavailable("the message broker is away, and with it what workers say")
        if self._connected_at is None or self.now() - self._connected_at < self._settle_s:
            raise Later(
                "the workers were not heard yet, since this gateway or the broker has just started",
                code="PROVISIONING",
                # A worker's heartbeat comes once a second.
                retry_after_s=1.0,
            )

    def more_ready(self) -> Coroutine[Any, Any, object]:
        """Wait until a worker is ready that was not when this was called."""
        # Not a coroutine of its own: that would begin later, and not know of who came meanwhile.
        return self._more.wait()

    def begin(self) -> None:
        """The bus is connected, again perhaps: workers have their time to be heard from here on."""
        self._connected_at = self.now()
        self.lives.hear_from(self._connected_at)
        if self._began_at is None:
            self._began_at = self._connected_at

    def living(self, kind: WorkerKind) -> list[Life]:
        """The lives of a kind that may hold jobs."""
        return self.lives.living(kind, self.now())

    def can_judge(self) -> bool:
        """True if every worker had the time to be heard, so that silence says something."""
        return self.lives.can_judge(self.now())

    def forget(self, life: Life) -> None:
        """A life is over: no request is routed to it any more."""
        self.fleet.over(life.worker_id, life.name)
        metrics.WORKERS_LIVE.set(len(self.fleet.seen))

    async def open(self) -> None:
        """Subscribe to the heartbeats."""
        self._subscription = await self._bus.subscribe("sie.health.*", self._receive)

    async def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    def _receive(self, message: Incoming) -> None:
        size = len(message.data)
        try:
            heartbeat = (
                HEARTBEAT_DECODER.decode(message.data) if size <= HEARTBEAT_BYTES_MAX else None
            )
        except MALFORMED:
            heartbeat = None
        if heartbeat is None:
            metrics.MALFORMED_MESSAGES.labels("heartbeat").inc()
            return
        before = self.fleet.seen.get(heartbeat.worker_id)
        # Only shown: no clock of another host decides anything here.
        ahead_s = heartbeat.sent_at - time.time() if heartbeat.sent_at else 0.0
        self.fleet.heard(heartbeat, now=self.now(), ahead_s=ahead_s, size=size)
        if not (heartbeat.leaving or heartbeat.worker_id in self.fleet.seen):
            metrics.WORKERS_REFUSED.inc()
            return
        if heartbeat.ready and (before is None or not before.heartbeat.ready):
            # A new one, not a cleared one: who waited is woken, who asks from now on waits.
            more, self._more = self._more, asyncio.Event()
            more.set()
        self.lives.heard(heartbeat, self.now())
        metrics.WORKERS_LIVE.set(len(self.fleet.seen))
