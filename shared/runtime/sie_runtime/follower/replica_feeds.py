"""The sources of a replica's events: the config stream, bookmarks on the bus, polls of the writer.

*shell.* Three loops that put events into one place and decide nothing. Promises:

- A stream which stops speaking is left, and followed anew from what is applied.
- The writer is polled rarely while the bus speaks, and by long polls while it does not.
- A thousand of these do not ask in the same moment.

What cannot be read is counted and left aside: nothing here is trusted.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

from sie_core.chain import Position
from sie_core.replica.events import EntryArrived, Event, HeadAnnounced, Ticked
from sie_runtime.broker.bus import Bus, BusUnavailable, Message
from sie_runtime.follower.apply_traces import ApplyTraces
from sie_runtime.follower.log_source import LogSource, RangeGone, SourceFailed
from sie_runtime.follower.stored_log import follow
from sie_runtime.settings import constant
from sie_schemas.entry import EntryCorrupt, Stub, parse_envelope
from sie_schemas.fleet import HEAD_DECODER, Head
from sie_schemas.malformed import MALFORMED

__all__ = ["FeedSettings", "ReplicaFeeds"]

_LOG: Final = logging.getLogger(__name__)
_FEEDS = Counter(
    "sie_replica_feed_ends_total", "Feeds of the stream that ended, by cause.", ["why"]
)
_REFUSED = Counter(
    "sie_replica_messages_refused_total", "What was heard and is of no use, by kind.", ["kind"]
)
_BACKOFF_DOUBLINGS_MAX: Final = 10
"""The longest pause is reached before; a larger power would only overflow."""
_CALM_TICKS: Final = 20
"""A replica with nothing due wakes twenty times less often: an idle cluster is idle."""


@dataclass(frozen=True, kw_only=True)
class FeedSettings:
    """The settings by which a replica hears of the log."""

    replica_tick_s: float = constant(
        0.1, help="seconds between looks at the clock; twenty times that while nothing is missing"
    )
    replica_retry_s: float = constant(0.2, help="pause after a failed fetch; doubles each time")
    replica_retry_max_s: float = constant(5.0, help="longest pause after failed fetches")
    replica_grace_s: float = constant(
        0.1, help="how long entries that a bookmark names may still come by the stream"
    )
    replica_poll_s: float = constant(15.0, help="seconds between polls while the bus speaks")
    replica_long_poll_s: float = constant(20.0, help="seconds that a poll waits while it does not")
    replica_bus_silent_s: float = constant(3.0, help="silence after which the bus counts as down")


class ReplicaFeeds:
    """The directions that events come from. Owner: a follower, which runs each loop in a task."""

    def __init__(
        self,
        settings: FeedSettings,
        *,
        bus: Bus,
        source: LogSource,
        put: Callable[[Event], bool],
        position: Callable[[], Position | None],
        following: Callable[[], bool],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._source = source
        self._put = put
        self._position = position
        self._following = following
        self._clock = clock
        self._rng = rng
        self._bus_heard_at: float | None = None
        self._bus_back = asyncio.Event()
        self._moved_log = asyncio.Event()
        self.traces: Final = ApplyTraces()

    @property
    def bus_silent(self) -> bool:
        """True if no bookmark came for so long that the bus counts as down."""
        heard = self._bus_heard_at
        return heard is None or self._clock() - heard > self._settings.replica_bus_silent_s

    def follow_anew(self) -> None:
        """Leave the stream: the replica follows another log now, or its first, or it stops."""
        moved, self._moved_log = self._moved_log, asyncio.Event()
        moved.set()

    def head_heard(self, head: Head) -> None:
        """A head that came by another way than these."""
        self._put(HeadAnnounced(head))

    async def tick(self, stopping: asyncio.Event) -> None:
        """Tell the time now and then."""
        while not stopping.is_set():
            self._put(Ticked(self._clock()))
            calm = self._following()
            await asyncio.sleep(self._settings.replica_tick_s * (_CALM_TICKS if calm else 1))

    def hear_bookmarks(self, message: Message) -> None:
        """Take a head that was announced on the bus."""
        try:
            head = HEAD_DECODER.decode(message.data)
        except MALFORMED:
            _REFUSED.labels("head").inc()
            _LOG.warning("what was announced on %s is no head", message.subject)
            return
        self._bus_heard_at = self._clock()
        self._put(Ticked(self._bus_heard_at))
        here = self._position()
        if here is not None and here.log_id == head.log_id and here.epoch < head.epoch:
            # Its entries are on the stream and may be on their way: what comes by itself need not
            # be fetched, by a crowd of replicas at once.
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.replica_grace_s, self._put, HeadAnnounced(head))
        else:
            self._put(HeadAnnounced(head))

    # -- the stream --

    async def follow_stream(self, stopping: asyncio.Event) -> None:
        """Keep hearing the config stream while its log is known."""
        forget = self._bus.on_reconnect(self._bus_back.set)
        failures = 0
        try:
            while not stopping.is_set():
                self._bus_back.clear()
                moved, here = self._moved_log, self._position()
                if here is None:
                    await moved.wait()
                    continue
                failures = 0 if await self._follow_once(here, moved) else failures + 1
                if not moved.is_set():
                    # What is written while nobody listens comes late, so a new log has no pause.
                    await self._pause(failures, self._bus_back)
        finally:
            forget()

    async def _follow_once(self, here: Position, moved: asyncio.Event) -> bool:
        try:
            why = await follow(
                self._bus,
                here.log_id,
                start_epoch=here.epoch + 1,
                on_message=self._delta,
                stop=moved,
                on_trace=self.traces.heard,
            )
        except BusUnavailable as error:
            _LOG.debug("no feed: %s", error.message)
            return False
        _FEEDS.labels(why).inc()
        _LOG.info("the feed of log %s ended: %s", here.log_id[:8], why)
        return True

    def _delta(self, sequence: int, data: bytes) -> bool:
        """Take a message of the stream; False when there is no room for it."""
        try:
            entry = parse_envelope(data)
        except EntryCorrupt as error:
            _REFUSED.labels("garbage").inc()
            _LOG.error("sequence %d of the stream is not an entry: %s", sequence, error)
            return True
        if entry.epoch != sequence:
            # Where sequence is not epoch, the stream was written by somebody else.
            _REFUSED.labels("misplaced").inc()
            _LOG.error("sequence %d of the stream holds epoch %d", sequence, entry.epoch)
            return True
        if isinstance(entry, Stub):
            return self._put(HeadAnnounced(_head_of(entry)))
        return self._put(EntryArrived(entry))

    # -- the writer --

    async def poll(self, stopping: asyncio.Event) -> None:
        """Ask the writer for its head: rarely while the bus speaks, in long polls while not."""
        settings = self._settings
        fruitless = 0
        seen: tuple[Head, Position | None] | None = None
        while not stopping.is_set():
            silent, here = self.bus_silent, self._position()
            # A replica that does not follow would get every long poll answered at once.
            wait_s = settings.replica_long_poll_s if silent and self._following() else 0.0
            asked_at = self._clock()
            try:
                head = await self._source.head(here, wait_s)
            except (SourceFailed, RangeGone) as error:
                fruitless += 1
                _LOG.debug("the writer's head is not known: %s", error)
            else:
                self._put(HeadAnnounced(head))
                # The same answer at once, again: a replica ahead of its writer must not spin.
                hasty = self._clock() - asked_at < wait_s / 2 or not wait_s
                fruitless = fruitless + 1 if silent and hasty and seen == (head, here) else 0
                seen = head, here
            if silent or fruitless:
                await self._pause(fruitless)
            else:
                # Polls find what bus and stream both lost. A request costs the client a millisecond
                # of processor, so that each second would be the most of an idle replica's work.
                await asyncio.sleep(settings.replica_poll_s * self._rng.uniform(0.75, 1.25))

    async def _pause(self, failures: int, woken: asyncio.Event | None = None) -> None:
        settings = self._settings
        doublings = min(failures, _BACKOFF_DOUBLINGS_MAX)
        pause_s = min(settings.replica_retry_max_s, settings.replica_retry_s * 2**doublings)
        # Jitter, so that a thousand replicas do not ask in the same moment.
        pause_s *= self._rng.uniform(0.75, 1.25)
        if woken is None or failures == 0:
            await asyncio.sleep(pause_s)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await woken.wait()


def _head_of(stub: Stub) -> Head:
    return Head(
        log_id=stub.log_id,
        epoch=stub.epoch,
        hash=stub.hash,
        digest=stub.state_digest,
        term=stub.term,
        signature=stub.signature,
    )
