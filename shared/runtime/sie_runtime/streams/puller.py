"""The puller: jobs of one consumer, asked for as far as they could be run soon.

*shell.* Owns one subscription and one loop. Promises that what comes after it was closed goes to
somebody else at once. An idle queue has one job asked for and no more. A pull that reached nobody
is asked anew soon: a broker says that a consumer is not there, but behind a leaf node nobody does.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Final

from sie_runtime.broker.bus import Bus, BusUnavailable, Subscription
from sie_runtime.broker.direct_parser import headers_of
from sie_runtime.streams.deliveries import Delivery, WorkQueueSettings

__all__ = ["Puller"]

_LOG: Final = logging.getLogger(__name__)
_STATUS: Final = b"NATS/1.0 "
"""The headers of the broker's own words begin so: a job's have nothing behind the version."""
_BUSY_S: Final = 60.0
"""So long after a job a model counts as asked for."""
_PAUSE_S: Final = 0.01
"""First pause after a refused pull; it doubles."""
_REFUSED_TOLD: Final = 20
"""A restart of the broker is no news; so many refusals in a row are."""


class Puller:
    """Pulls for one durable consumer, pipelined: asks again before the old pull is used up."""

    def __init__(
        self,
        bus: Bus,
        stream: str,
        consumer: str,
        settings: WorkQueueSettings,
        *,
        on_job: Callable[[Delivery], None],
        demand: Callable[[], int],
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._settings = settings
        self._on_job = on_job
        self._demand = demand
        self._asked = 0
        self._asked_at = 0.0
        self._expires_s = 0.0
        """The seconds that the last pull stays open."""
        self._busy_until = 0.0
        self._answers = False
        """True once the consumer has answered since it was last found missing."""
        self._loop = asyncio.get_running_loop()
        """Asked once: up to Python 3.11 each time takes a call into the system."""
        self._woken = asyncio.Event()
        self._closing = False
        self._refused = 0
        """Times in a row that the consumer was not there, or gave the pull up."""
        self._pausing = False
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._task: asyncio.Task[None] | None = None
        self._forget_bus: Callable[[], None] = lambda: None

    @property
    def is_busy(self) -> bool:
        """True if a job came within the last minute."""
        return self._loop.time() < self._busy_until

    async def open(self) -> None:
        """Begin."""
        self._inbox = self._bus.new_inbox()
        self._subscription = await self._bus.take(self._inbox, self._received)
        self._forget_bus = self._bus.on_reconnect(self._reset)
        self._task = asyncio.create_task(self._keep_asking(), name=f"pull-{self._consumer}")

    def wake(self, room: int) -> None:
        """There is room for so many jobs. Raises what ended the pulling, if anything did."""
        if self._task is not None and self._task.done() and not self._closing:
            self._task.result()
        self._ask_if_due(room)

    async def close(self) -> None:
        """Stop pulling. What was handed over stays with its owner."""
        self._closing = True
        self._woken.set()
        self._forget_bus()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._unlisten()

    # -- the loop --

    async def _keep_asking(self) -> None:
        """Keep as many jobs asked for as could be run soon; renew pulls that the broker let go."""
        loop = self._loop
        while not self._closing:
            self._woken.clear()
            if self._pausing:
                await self._sleep(self._pause_s)
                self._pausing = False
                continue
            if self._asked and loop.time() - self._asked_at > self._expires_s + 1:
                # The broker's word that the pull expired was lost: ask anew.
                self._asked = 0
                self._answers = False
            self._ask_if_due(self._demand())
            await self._sleep(self._expires_s / 2 or self._settings.queue_pull_expires_s / 2)

    async def _sleep(self, longest_s: float) -> None:
        # A timer that wakes costs a fifth of a timeout that cancels.
        timer = self._loop.call_later(longest_s, self._woken.set)
        await self._woken.wait()
        timer.cancel()

    def _ask(self, count: int) -> None:
        settings, now = self._settings, self._loop.time()
        # Nobody can withdraw another's pull. One that is stopped takes what it left open, so while
        # there is work that ends within two seconds, and on an idle queue it is one job.
        brisk = self.is_busy or not self._answers
        self._expires_s = settings.queue_pull_brisk_s if brisk else settings.queue_pull_expires_s
        request = {"batch": count, "expires": int(self._expires_s * 1e9)}
        try:
            self._bus.send(self._subject, json.dumps(request).encode(), reply=self._inbox)
        except BusUnavailable:
            # The reconnection asks anew.
            return
        self._asked += count
        self._asked_at = now

    def _received(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if not headers.startswith(_STATUS):
            self._take(data, reply)
            return
        told = headers_of(headers)
        # 404 and 408: the pull is over; 409: the consumer is gone or limits were reached.
        pending = int(told.get("Nats-Pending-Messages", self._asked) or 0)
        self._asked = max(0, self._asked - pending)
        if told.get("Status") not in ("409", "503"):
            self._refused = 0
            self._answers = True
        else:
            self._answers = False
            self._asked = 0
            self._refused += 1
            self._pausing = True
            if self._refused == _REFUSED_TOLD:
                _LOG.warning("no consumer %s is there: sie-config makes it", self._consumer)
        self._woken.set()

    def _take(self, data: bytes, reply: bytes) -> None:
        self._asked = max(0, self._asked - 1)
        self._busy_until = self._loop.time() + _BUSY_S
        self._refused = 0
        self._answers = True
        delivery = Delivery(self._bus, data, reply, self._settings.queue_deliveries_max)
        if self._closing:
            # It was on its way when the pull ended: at once to somebody else.
            delivery.retry(0)
            return
        self._on_job(delivery)
        if not self._asked:
            # Nobody may have been freed meanwhile, who would say that there is room.
            self._ask_if_due(self._demand())

    def _ask_if_due(self, room: int) -> None:
        """Ask again before the old pull is used up, but not for each single job.

        Where no jobs came, one is asked for: what a long pull left open, a worker that stops here
        would take from the others.
        """
        wanted = (room if self.is_busy else min(room, 1)) - self._asked
        if wanted >= max(1, self._asked) and not self._closing and not self._pausing:
            self._ask(wanted)

    @property
    def _pause_s(self) -> float:
        """Short at first: sie-config makes a consumer as soon as there is a use for it."""
        return min(self._settings.queue_renew_s, _PAUSE_S * 2.0 ** min(self._refused, 16))

    def _reset(self) -> None:
        """After a reconnection nothing that was asked for can be relied on."""
        if not self._closing:
            self._asked = self._refused = 0
            self._answers = self._pausing = False
            self._woken.set()

    async def _unlisten(self) -> None:
        if self._subscription is not None:
            await self._subscription.drain()
