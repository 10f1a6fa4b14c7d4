"""Heartbeats: this worker's word to every gateway and to its peers.

*shell*: publishes on `sie.health.<worker_id>` at each interval, and at once when something that a
gateway routes by has changed. The last heartbeat of a process that stops on purpose says `leaving`.
While the bus is away nothing is said, and silence is what the others go by.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_schemas.fleet import Heartbeat

__all__ = ["HEALTH_SUBJECTS", "Heartbeats"]

HEALTH_SUBJECTS: Final = "sie.health.*"
_ENCODER: Final = msgspec.msgpack.Encoder()


class Heartbeats:
    """Says what `state` gives. Owned by the worker's task group."""

    def __init__(self, bus: Bus, *, state: Callable[[], Heartbeat], interval_s: float) -> None:
        self._bus = bus
        self._state = state
        self._interval_s = interval_s
        self._changed = asyncio.Event()
        bus.on_reconnect(self._changed.set)

    def changed(self) -> None:
        """Say it now, and not only at the next interval."""
        self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop`, then say goodbye."""
        async with asyncio.TaskGroup() as group:
            publishing = group.create_task(self._keep_publishing())
            await stop.wait()
            publishing.cancel()
        await self._publish(msgspec.structs.replace(self._state(), ready=False, leaving=True))

    async def _keep_publishing(self) -> None:
        while True:
            self._changed.clear()
            await self._publish(self._state())
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _publish(self, heartbeat: Heartbeat) -> None:
        # What cannot be sent now is old by the time it could: the next one says more.
        with suppress(BusUnavailable):
            said = msgspec.structs.replace(heartbeat, sent_at=time.time())
            await self._bus.publish(f"sie.health.{said.worker_id}", _ENCODER.encode(said))
