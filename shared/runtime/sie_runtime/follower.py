"""The follower: the one shell around a replica.

*shell.* Drives `sie_core.replica` from three directions at once: the config stream (deltas), head
announcements on the bus or a long poll where the bus is silent, and fetches over HTTP or from the
stream. Promises that readers see one catalog, swapped whole; that a restart begins with what was
verified before, without the writer; that at most one fetch is in flight. One task owns the replica:
everything else only puts events into its bounded queue, and what does not fit is fetched again.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, assert_never

import msgspec
from prometheus_client import Counter, Gauge

from sie_core.apply import SPEAKS
from sie_core.chain import Position
from sie_core.models import Catalog
from sie_core.replica import (
    Advance,
    Command,
    EntryArrived,
    Event,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    Gone,
    Halt,
    HeadAnnounced,
    Quarantine,
    RangeArrived,
    Replica,
    ReplicaLimits,
    SnapshotArrived,
    Ticked,
)
from sie_runtime.bus import Bus, BusUnavailable, Message
from sie_runtime.log_source import LogSource, RangeGone, SourceFailed
from sie_runtime.log_stream import follow
from sie_runtime.replica_files import ReplicaFiles
from sie_runtime.settings import setting
from sie_schemas.entry import EntryCorrupt, Stub, parse_envelope, to_envelope
from sie_schemas.fleet import HEAD_DECODER, Head, ModelReport, ReplicaReport, ReplicaState

__all__ = ["Follower", "FollowerSettings"]

_LOG: Final = logging.getLogger(__name__)

_APPLIED = Gauge("sie_replica_applied_epoch", "Newest epoch that this process serves.")
_BEHIND = Gauge("sie_replica_behind_epochs", "Epochs known to be missing.")
_RESYNCS = Counter("sie_replica_snapshots_total", "Snapshots asked for, by reason.", ["reason"])
_FETCHES = Counter("sie_replica_fetches_total", "Ranges fetched, by outcome.", ["outcome"])
_STOPS = Counter("sie_replica_stops_total", "Quarantines and halts.", ["state"])
_DROPPED = Counter("sie_replica_events_dropped_total", "Events that did not fit the queue.")


@dataclass(frozen=True, kw_only=True)
class FollowerSettings:
    """How a process follows the log."""

    config_url: str = setting("http://127.0.0.1:8081", help="base URL of sie-config")
    config_token: str | None = setting(None, help="bearer token for sie-config, if it asks for one")
    replica_dir: Path | None = setting(
        None, help="folder for the replica's files; absent keeps none"
    )
    replica_tick_s: float = setting(0.1, help="seconds between looks at the clock")
    replica_retry_s: float = setting(0.2, help="pause after a failed fetch; doubles each time")
    replica_retry_max_s: float = setting(5.0, help="longest pause after failed fetches")
    replica_stale_after_s: float = setting(15.0, help="silence after which the replica is stale")
    replica_poll_s: float = setting(5.0, help="seconds between polls while the bus speaks")
    replica_long_poll_s: float = setting(20.0, help="seconds that a poll waits while it does not")
    replica_bus_silent_s: float = setting(3.0, help="silence after which the bus counts as down")
    replica_heartbeat_s: float = setting(1.0, help="idle heartbeat of the config stream's consumer")
    replica_fetch_timeout_s: float = setting(5.0, help="seconds for one fetch")
    replica_page_entries: int = setting(1000, help="entries in one fetch")
    replica_tail_entries: int = setting(1000, help="raw entries kept at least, for a writer's loss")
    replica_queue_max: int = setting(20_000, help="events that may wait; the rest is fetched again")
    replica_report_s: float = setting(2.0, help="seconds between reports to sie-config")


class Follower:
    """See the module. Owner: the process's main task; `catalog` may be read by anyone."""

    def __init__(
        self,
        settings: FollowerSettings,
        *,
        role: Literal["gateway", "worker"],
        process_id: str,
        bus: Bus,
        models_report: Callable[[], dict[str, ModelReport]] = dict,
    ) -> None:
        self._settings = settings
        self._role: Literal["gateway", "worker"] = role
        self._id = process_id
        self._bus = bus
        self._models_report = models_report
        self._replica = Replica(
            ReplicaLimits(
                retry_s=settings.replica_retry_s,
                retry_max_s=settings.replica_retry_max_s,
                stale_after_s=settings.replica_stale_after_s,
            )
        )
        self._source = LogSource(
            settings.config_url,
            bus,
            timeout_s=settings.replica_fetch_timeout_s,
            page_entries=settings.replica_page_entries,
            token=settings.config_token,
        )
        self._files = (
            ReplicaFiles(settings.replica_dir, tail_entries_min=settings.replica_tail_entries)
            if settings.replica_dir is not None
            else None
        )
        self._events: asyncio.Queue[Event] = asyncio.Queue(settings.replica_queue_max)
        self._advanced = asyncio.Event()
        self._report_due = asyncio.Event()
        self._on_change: list[Callable[[Catalog], None]] = []
        self._bus_heard_at: float | None = None
        self.catalog: Catalog = Catalog.of(self._replica.registry, None)

    # -- what the process asks --

    @property
    def position(self) -> Position | None:
        """What `catalog` is the state of."""
        return self.catalog.position

    @property
    def ready(self) -> bool:
        """Whether a verified registry is loaded."""
        return self.catalog.position is not None

    @property
    def state(self) -> ReplicaState:
        """`fresh`, `stale` and so on."""
        return self._replica.state

    @property
    def reason(self) -> str:
        """Why it is not fresh, if something is known."""
        return self._replica.reason

    def on_change(self, callback: Callable[[Catalog], None]) -> None:
        """Call back inline after each swap of the catalog."""
        self._on_change.append(callback)

    def report_soon(self) -> None:
        """Something that the report tells has changed: send it now."""
        self._report_due.set()

    async def wait_for_epoch(self, log_id: str, epoch: int, *, timeout_s: float) -> bool:
        """Wait until this epoch of this log is served. False when time ran out."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._serves(log_id, epoch):
                    await self._advanced.wait()
        except TimeoutError:
            return False
        return True

    def _serves(self, log_id: str, epoch: int) -> bool:
        here = self.position
        return here is not None and here.log_id == log_id and here.epoch >= epoch

    # -- the shell --

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until `stop`; then say that this replica is leaving."""
        await self._boot()
        head = await self._bus.subscribe("sie.config.head.*", self._head_heard)
        tail = await self._bus.subscribe(
            f"sie.config.tail.{self._role}.{self._id}", self._give_tail
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._own(), name="replica"),
                    tasks.create_task(self._tick(), name="replica-ticks"),
                    tasks.create_task(self._feed(stop), name="replica-feed"),
                    tasks.create_task(self._poll(), name="replica-poll"),
                    tasks.create_task(self._report(), name="replica-reports"),
                ]
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            await head.unsubscribe()
            await tail.unsubscribe()
            await self._say(leaving=True)
            await self._source.close()
            if self._files is not None:
                self._files.close()

    async def _boot(self) -> None:
        """Begin with what an earlier life verified; everything is verified again."""
        if self._files is None:
            return
        snapshot, entries = await asyncio.to_thread(self._files.load)
        if snapshot is not None:
            await self._take(SnapshotArrived(0, snapshot))
        if entries:
            await self._take(RangeArrived(0, entries))
        if self.position is not None:
            _LOG.info("booted from local files at %s", self.position)

    async def _own(self) -> None:
        """The one task that touches the replica."""
        while True:
            await self._take(await self._events.get())

    async def _take(self, event: Event) -> None:
        pending = [event]
        while pending:
            for command in self._replica.receive(pending.pop(0)):
                answer = await self._carry_out(command)
                if answer is not None:
                    pending.append(answer)
        _BEHIND.set(self._replica.behind)

    async def _carry_out(self, command: Command) -> Event | None:
        match command:
            case Advance():
                self._advance(command)
                return None
            case Fetch() | FetchSnapshot():
                # Not awaited here: entries go on arriving while a fetch is under way.
                self._fetching = asyncio.create_task(self._fetch(command), name="replica-fetch")
                return None
            case Quarantine(reason) | Halt(reason):
                _STOPS.labels(self._replica.state).inc()
                _LOG.error("this replica stops following: %s", reason)
                self.report_soon()
                return None
            case _:
                assert_never(command)

    def _advance(self, advance: Advance) -> None:
        if self._files is not None:
            if advance.snapshot is not None:
                self._files.took_snapshot(advance.snapshot, advance.registry)
            else:
                self._files.took_entries(advance.entries, advance.registry)
        self.catalog = Catalog.of(advance.registry, advance.position, self.catalog)
        _APPLIED.set(advance.position.epoch)
        self._advanced.set()
        self._advanced = asyncio.Event()
        for callback in self._on_change:
            callback(self.catalog)
        self.report_soon()

    async def _fetch(self, command: Fetch | FetchSnapshot) -> None:
        try:
            event = await self._fetched(command)
        except SourceFailed as error:
            event = FetchFailed(command.id, str(error))
        except RangeGone:
            event = Gone(command.id)
        _FETCHES.labels(type(event).__name__).inc()
        # Awaited: the answer to a fetch must not be lost, or nothing would be fetched again.
        await self._events.put(event)

    async def _fetched(self, command: Fetch | FetchSnapshot) -> Event:
        if isinstance(command, Fetch):
            entries = await self._source.entries(command.log_id, command.after, command.until)
            return RangeArrived(command.id, entries)
        _RESYNCS.labels(command.reason.partition(" ")[0]).inc()
        try:
            snapshot, _ = await self._source.snapshot()
        except SourceFailed as error:
            if command.reason != "boot":
                raise
            try:
                return RangeArrived(command.id, await self._source.whole_log_from_stream())
            except SourceFailed:
                raise error from None
        return SnapshotArrived(command.id, snapshot)

    def _put(self, event: Event) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            # Loud, and harmless: the gap shows, and the range is fetched.
            _DROPPED.inc()

    # -- the directions that events come from --

    async def _tick(self) -> None:
        while True:
            self._put(Ticked(time.monotonic()))
            await asyncio.sleep(self._settings.replica_tick_s)

    def _head_heard(self, message: Message) -> None:
        try:
            head = HEAD_DECODER.decode(message.data)
        except msgspec.MsgspecError:
            _LOG.warning("what was announced on %s is no head", message.subject)
            return
        self._bus_heard_at = time.monotonic()
        self._put(HeadAnnounced(head))

    async def _feed(self, stop: asyncio.Event) -> None:
        """Keep one consumer of the config stream open while its log is known."""
        settings = self._settings
        while True:
            log_id = await self._known_log_id()
            here = self.position
            start = here.epoch + 1 if here is not None and here.log_id == log_id else 1
            try:
                why = await follow(
                    self._bus,
                    log_id,
                    start_epoch=start,
                    on_message=self._delta,
                    heartbeat_s=settings.replica_heartbeat_s,
                    stop=stop,
                )
                _LOG.info("the feed of log %s ended: %s", log_id[:8], why)
            except BusUnavailable as error:
                _LOG.info("no feed: %s", error.message)
            await asyncio.sleep(settings.replica_retry_s)

    async def _known_log_id(self) -> str:
        while self.position is None:
            await self._advanced.wait()
        return self.position.log_id

    def _delta(self, sequence: int, data: bytes) -> None:
        try:
            entry = parse_envelope(data)
        except EntryCorrupt as error:
            _LOG.error("sequence %d of the stream is not an entry: %s", sequence, error)
            return
        if isinstance(entry, Stub):
            head = Head(
                log_id=entry.log_id,
                epoch=entry.epoch,
                hash=entry.hash,
                digest=entry.state_digest,
                term=entry.term,
            )
            self._put(HeadAnnounced(head))
        else:
            self._put(EntryArrived(entry))

    async def _poll(self) -> None:
        """Ask the writer for its head: rarely while the bus speaks, in long polls while not."""
        settings = self._settings
        failures = 0
        while True:
            silent = self._bus_silent()
            # A replica that does not follow would get every long poll answered at once.
            wait_s = settings.replica_long_poll_s if silent and self._following() else 0.0
            try:
                head = await self._source.head(self.position, wait_s)
                self._put(HeadAnnounced(head))
                failures = 0
            except (SourceFailed, RangeGone) as error:
                failures += 1
                _LOG.debug("the writer's head is not known: %s", error)
            pause_s = settings.replica_retry_s if silent else settings.replica_poll_s
            if failures:
                pause_s = min(settings.replica_retry_max_s, pause_s * 2 ** min(failures, 10))
            # Jitter, so that a thousand replicas do not ask in the same moment.
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))

    def _bus_silent(self) -> bool:
        heard = self._bus_heard_at
        return heard is None or time.monotonic() - heard > self._settings.replica_bus_silent_s

    def _following(self) -> bool:
        return self._replica.stopped is None and self._replica.behind == 0

    # -- what others ask of this replica --

    async def _report(self) -> None:
        while True:
            self._report_due.clear()
            await self._say(leaving=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.replica_report_s):
                    await self._report_due.wait()

    async def _say(self, *, leaving: bool) -> None:
        replica, here = self._replica, self.position
        report = ReplicaReport(
            role=self._role,
            id=self._id,
            log_id=here.log_id if here is not None else "",
            epoch=here.epoch if here is not None else 0,
            hash=here.hash if here is not None else "",
            digest=self.catalog.registry.digest if here is not None else "",
            received=replica.received,
            state=replica.state,
            reason=replica.reason,
            speaks=SPEAKS,
            models=self._models_report(),
            leaving=leaving,
        )
        with contextlib.suppress(BusUnavailable):
            await self._bus.publish(
                f"sie.config.report.{self._role}.{self._id}", msgspec.json.encode(report)
            )

    async def _give_tail(self, message: Message) -> None:
        """A writer that lost entries asks for them: `{"after":…, "until":…}`, answered as lines."""
        try:
            wanted = msgspec.json.decode(message.data, type=_TailRequest)
        except msgspec.MsgspecError:
            return
        entries = self._files.entries(wanted.after, wanted.until) if self._files else []
        await message.respond(b"\n".join(to_envelope(entry) for entry in entries))


class _TailRequest(msgspec.Struct, frozen=True):
    after: int
    until: int
