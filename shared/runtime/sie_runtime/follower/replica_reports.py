"""The reports of a replica on itself, and what it gives back.

*shell.* Reports the replica's position on the bus, answers a roll call at once, and hands kept
entries to a writer that lost them. While the bus is silent the same report goes to the writer over
HTTP. It comes with the writer's own signature of the position, and so bears witness by any way.
Promises that a report tells the newest position, however fast the replica advances. Reports are
paced, but for the one that says that it stopped. Knows the replica as a `Reporter`.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import msgspec
from prometheus_client import Counter

from sie_core.resolver import Resolver
from sie_runtime.broker.bus import Bus, BusUnavailable, Message
from sie_runtime.follower.log_source import LogSource, RangeGone, SourceFailed
from sie_runtime.follower.replica_feeds import ReplicaFeeds
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_runtime.settings import constant
from sie_schemas.entry import Entry, to_envelope
from sie_schemas.fleet import Recount, ReplicaReport
from sie_schemas.malformed import MALFORMED

__all__ = ["ReplicaReports", "ReportSettings", "Reporter"]

_LOG: Final = logging.getLogger(__name__)
_STOPPED: Final = frozenset({"quarantined", "forked", "halted"})
"""The states to tell the writer at once: it may be the one who is wrong, and it goes on writing."""
_TAILS = Counter("sie_replica_tails_given_total", "Answers to a writer that asked for entries.")
_HTTP_REPORTS = Counter(
    "sie_replica_http_reports_total", "Reports to the writer over HTTP, by outcome.", ["outcome"]
)


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The pace of a replica's reports, and how much it says at once."""

    replica_report_s: float = constant(2.0, help="seconds between reports to sie-config")
    replica_report_min_s: float = constant(
        0.25, help="least seconds between two reports; what changes meanwhile is in the next one"
    )
    replica_report_http_s: float = constant(
        4.0,
        help="seconds between reports over HTTP while the bus is silent; a new position waits a "
        "quarter of it",
    )
    replica_tail_bytes_max: int = constant(
        512 * 1024, help="bytes in one answer to a writer that lost entries"
    )


class Reporter(Protocol):
    """The replica that reports, as its follower shows it."""

    resolver: Resolver
    """The resolver that it serves, with its position."""

    def report(self, *, leaving: bool) -> ReplicaReport:
        """Its report as of now."""
        ...

    def resync(self) -> None:
        """Take the writer's snapshot, whatever is served now."""
        ...


class ReplicaReports:
    """The voice of one replica."""

    def __init__(
        self,
        settings: ReportSettings,
        reporter: Reporter,
        *,
        role: Literal["gateway", "worker"],
        process_id: str,
        bus: Bus,
        source: LogSource,
        files: ReplicaFiles | None,
        feeds: ReplicaFeeds,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._name = f"{role}.{process_id}"
        self._bus = bus
        self._source = source
        self._files = files
        self._reporter = reporter
        self._feeds = feeds
        self._clock = clock
        self._rng = rng
        self._due = asyncio.Event()
        self._posted_at = float("-inf")
        self._posted = ("", 0, "")

    def soon(self) -> None:
        """Something that the report tells has changed."""
        self._due.set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """While it lasts, roll calls and what the writer asks of this replica are answered."""
        called = await self._bus.subscribe("sie.config.rollcall", self._called)
        asked = await self._bus.subscribe(f"sie.config.tail.{self._name}", self._asked)
        counted = await self._bus.subscribe(f"sie.config.recount.{self._name}", self._recount)
        told = await self._bus.subscribe(f"sie.config.resync.{self._name}", self._told_to_resync)
        try:
            yield
        finally:
            for subscription in (called, asked, counted, told):
                await subscription.unsubscribe()

    async def run(self, stopping: asyncio.Event) -> None:
        """Report until `stopping`: at once after a pause, then paced."""
        settings = self._settings
        while not stopping.is_set():
            self._due.clear()
            await self._say()
            # Jitter, so that replicas that heard of one entry do not all speak of the next one.
            await asyncio.sleep(settings.replica_report_min_s * self._rng.uniform(0.75, 1.25))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.replica_report_s):
                    await self._due.wait()

    async def leave(self) -> None:
        """Say that this replica stops on purpose: nobody need wait for it."""
        report = self._reporter.report(leaving=True)
        if not await self._publish(report):
            with contextlib.suppress(SourceFailed, RangeGone):
                await self._source.report(msgspec.json.encode(report))

    async def _say(self) -> None:
        report = self._reporter.report(leaving=False)
        published = await self._publish(report)
        if not published or self._feeds.bus_silent:
            await self._post(report)

    async def _publish(self, report: ReplicaReport) -> bool:
        try:
            await self._bus.publish(f"sie.config.report.{self._name}", msgspec.json.encode(report))
        except BusUnavailable:
            return False
        return True

    async def _post(self, report: ReplicaReport) -> None:
        """The same over HTTP: a bus that brings no heads may bring no reports either."""
        pause_s = self._settings.replica_report_http_s * self._rng.uniform(0.75, 1.25)
        told = (report.log_id, report.epoch, report.state)
        if told != self._posted:
            # A stopped replica's word is the evidence of a fork. Seed 162 of the simulation waited
            # for its turn, was killed, and nobody ever said what was lost.
            pause_s = 0.0 if report.state in _STOPPED else pause_s / 4
        if self._clock() - self._posted_at < pause_s:
            return
        self._posted_at, self._posted = self._clock(), told
        try:
            head = await self._source.report(msgspec.json.encode(report))
        except (SourceFailed, RangeGone) as error:
            _HTTP_REPORTS.labels("failed").inc()
            _LOG.debug("the report did not reach the writer: %s", error)
            return
        _HTTP_REPORTS.labels("sent").inc()
        self._feeds.head_heard(head)

    async def _called(self, _message: Message) -> None:
        # At once, whatever the pace: a writer that starts listens for a moment only.
        await self._publish(self._reporter.report(leaving=False))

    async def _told_to_resync(self, message: Message) -> None:
        if not message.is_asked_by("config"):
            _LOG.warning("nobody who may said to resync")
            return
        _LOG.warning("an operator has this replica take the writer's snapshot")
        self._reporter.resync()
        await message.respond(b"{}")

    async def _recount(self, message: Message) -> None:
        """The writer's self-check asks what is served, counted anew. Nothing is epoch 0."""
        resolver = self._reporter.resolver
        here = resolver.position
        if here is None:
            # Without an answer the writer waits all of its time, and whoever asks for a round too.
            nothing = Recount(log_id="", epoch=0, hash="", digest="")
            await message.respond(msgspec.json.encode(nothing))
            return
        # Hashing every document would hold up the loop on which requests are answered.
        digest = await asyncio.to_thread(resolver.registry.recounted)
        count = Recount(log_id=here.log_id, epoch=here.epoch, hash=here.hash, digest=digest)
        await message.respond(msgspec.json.encode(count))

    async def _asked(self, message: Message) -> None:
        """A writer that lost entries asks: `{"after":…, "until":…}`, answered as lines."""
        try:
            wanted = msgspec.json.decode(message.data, type=_TailRequest)
        except MALFORMED:
            _LOG.warning("what was asked on %s is no request for entries", message.subject)
            return
        entries: list[Entry] = []
        if self._files is not None:
            entries = await asyncio.to_thread(self._files.entries, wanted.after, wanted.until)
        _TAILS.inc()
        await message.respond(
            _answer(entries, wanted.offset, self._settings.replica_tail_bytes_max)
        )


class _TailRequest(msgspec.Struct, frozen=True):
    after: int
    until: int
    offset: int = 0
    """Bytes of the first entry's line that were given already: it is longer than one answer."""


def _answer(entries: Sequence[Entry], offset: int, bytes_max: int) -> bytes:
    """As many whole lines as fit; of a first line that does not fit, the part from `offset` on."""
    lines: list[bytes] = []
    room = bytes_max
    for entry in entries:
        line = to_envelope(entry)
        if len(line) + 1 > room:
            break
        lines.append(line)
        room -= len(line) + 1
    if entries and (offset or not lines):
        return to_envelope(entries[0])[offset : offset + bytes_max]
    return b"\n".join(lines)
