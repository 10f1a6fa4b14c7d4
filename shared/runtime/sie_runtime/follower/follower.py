"""The follower: the one shell around a replica.

*shell.* Drives `sie_core.replica` with what its feeds bring (`replica_feeds`) and with fetches over
HTTP or from the stream. Keeps its files (`replica_files`) and lets it speak (`replica_reports`).
Promises that readers see one resolver, swapped whole, and that at most one fetch is in flight. A
restart begins with what was verified before, without the writer. One task owns the replica:
everything else only puts events into its bounded queue (`replica_queue`).
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, assert_never, get_args

from prometheus_client import Counter, Enum, Gauge

from sie_core.apply import SPEAKS
from sie_core.chain import Position
from sie_core.replica.events import (
    Advance,
    Command,
    Event,
    Fetch,
    FetchSnapshot,
    Halt,
    Quarantine,
    RangeArrived,
    ReplicaLimits,
    ResyncAsked,
    SnapshotArrived,
    Ticked,
)
from sie_core.replica.replica import Replica
from sie_core.resolver import Resolver
from sie_core.trust import Trust
from sie_runtime.broker.bus import Bus
from sie_runtime.dated_counts import DatedCount
from sie_runtime.follower.fetcher import Fetcher, source_of
from sie_runtime.follower.log_source import LogSource
from sie_runtime.follower.replica_feeds import ReplicaFeeds
from sie_runtime.follower.replica_files import ReplicaFiles, show_room
from sie_runtime.follower.replica_queue import ReplicaQueue
from sie_runtime.follower.replica_reports import ReplicaReports
from sie_runtime.follower.settings import FollowerSettings
from sie_runtime.reach import Reach
from sie_runtime.signing import first_trust
from sie_schemas.entry import Entry
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import ModelReport, ReplicaReport, ReplicaState

__all__ = ["Follower", "ProcessReport"]

_LOG: Final = logging.getLogger(__name__)

_APPLIED = Gauge("sie_replica_applied_epoch", "Newest epoch that this process serves.")
_BEHIND = Gauge("sie_replica_behind_epochs", "Epochs known to be missing.")
_STATE = Enum(
    "sie_replica_state", "How far the replica can be believed.", states=list(get_args(ReplicaState))
)
_STOPS = Counter("sie_replica_stops_total", "Quarantines and halts.", ["state"])
_FORGERIES = Counter(
    "sie_replica_forged_total", "Entries, heads and snapshots that the writer did not sign."
)
_LAST_FORGERY = Gauge(
    "sie_replica_forged_last_timestamp_seconds", "When such a one last came, in Unix time."
)
_FORGED = DatedCount(_FORGERIES, _LAST_FORGERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """The part of a replica's report that is about its process, asked anew for each report."""

    models: Callable[[], dict[str, ModelReport]] = dict
    """The state of each model, by name."""
    traffic: Callable[[], dict[str, int]] = dict
    """Requests of each model, by name."""
    adapters: Callable[[], dict[str, int]] = dict
    """Requests of each adapter, by name."""
    trouble: Callable[[], str] = str
    """In words: why a worker runs no jobs."""
    place: tuple[str, str, str] | None = None
    """Pool, machine profile and bundle of a worker."""


class Follower:
    """See the module. Owner: the process's main task; `resolver` may be read by anyone."""

    def __init__(
        self,
        settings: FollowerSettings,
        *,
        role: Literal["gateway", "worker"],
        process_id: str,
        bus: Bus,
        process: ProcessReport | None = None,
        source: LogSource | None = None,
        files: ReplicaFiles | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        life: str | None = None,
    ) -> None:
        """A simulation gives its own `source`, `files`, `clock`, `rng` and `life`."""
        self._settings = settings
        self._clock = clock
        self._role: Literal["gateway", "worker"] = role
        self._id = process_id
        self._life = life if life is not None else secrets.token_hex(8)
        self._bus = bus
        self._process = process or ProcessReport()
        self._replica = Replica(_trust_of(settings), _limits_of(settings))
        self._source = source or source_of(settings, bus)
        self._files = files = files or _files_of(settings)
        self._events = ReplicaQueue(settings.replica_queue_max)
        self._fetcher = Fetcher(self._source, put=self._events.put)
        # On Python 3.11 a cancellation can be lost inside `wait_for`, which nats-py uses: each loop
        # therefore looks at this too.
        self._stopping = asyncio.Event()
        self._advanced = asyncio.Event()
        self._last: Entry | None = None
        self._stopped_at: float | None = None
        self._told: tuple[int, ReplicaState] | None = None
        self._forged_told = 0
        self.resolver: Resolver = Resolver.of(self._replica.registry, None)
        rng = rng or random.Random()
        self._feeds = ReplicaFeeds(
            settings,
            bus=bus,
            source=self._source,
            put=self._events.offer,
            position=lambda: self.position,
            following=lambda: self._replica.stopped is None and self._replica.behind == 0,
            clock=clock,
            rng=rng,
        )
        self._on_change: list[Callable[[Resolver], None]] = [self._feeds.traces.served]
        self._reports = ReplicaReports(
            settings,
            self,
            role=role,
            process_id=process_id,
            bus=bus,
            source=self._source,
            files=files,
            feeds=self._feeds,
            clock=clock,
            rng=rng,
        )

    # -- what the process asks --

    @property
    def position(self) -> Position | None:
        """The position that `resolver` is the state of."""
        return self.resolver.position

    @property
    def ready(self) -> bool:
        """True if what is served was verified and may still be counted on: see `not_ready`."""
        return not self.not_ready

    @property
    def not_ready(self) -> str:
        """The reason why requests should go elsewhere; empty when they may come."""
        if self.resolver.position is None:
            why = self.writer_reach.why_not or self.reason
            return f"no verified registry is loaded yet{': ' + why if why else ''}"
        stopped_at = self._stopped_at
        if stopped_at is None:
            return ""
        # What it verified is still right, and a fork stops every replica: unready at once, all
        # gateways would leave their balancer in the same second.
        if self._clock() - stopped_at < self._settings.replica_stopped_ready_s:
            return ""
        return f"the replica is {self.state} at {self.position}: {self.reason}"

    @property
    def state(self) -> ReplicaState:
        """`fresh`, `stale` and so on."""
        return self._replica.state

    @property
    def reason(self) -> str:
        """The reason why it is not fresh, if something is known."""
        return self._replica.reason

    @property
    def writer_reach(self) -> Reach:
        """The reach of sie-config from here."""
        return self._source.reach

    def on_change(self, callback: Callable[[Resolver], None]) -> None:
        """Call back inline after each swap of the resolver. An error in it ends the process."""
        self._on_change.append(callback)

    def report_soon(self) -> None:
        """Something that the report tells has changed: send it now."""
        self._reports.soon()

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
        try:
            await self._boot()
            # Of every log: a bookmark of another one is how a replica learns that its own was
            # superseded.
            heads = await self._bus.subscribe("sie.config.head.*", self._feeds.hear_bookmarks)
            try:
                async with self._reports.listening():
                    await self._run_loops(stop)
            finally:
                await heads.unsubscribe()
                await self._reports.leave()
        finally:
            await self._source.close()
            if self._files is not None:
                await asyncio.to_thread(self._files.close)

    async def _run_loops(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._own(), name="replica")
            running = [
                tasks.create_task(self._fetcher.run(self._stopping), name="replica-fetch"),
                tasks.create_task(self._feeds.tick(self._stopping), name="replica-ticks"),
                tasks.create_task(self._feeds.follow_stream(self._stopping), name="replica-feed"),
                tasks.create_task(self._feeds.poll(self._stopping), name="replica-poll"),
                tasks.create_task(self._reports.run(self._stopping), name="replica-reports"),
            ]
            await stop.wait()
            self._stopping.set()
            # A feed that loses its cancellation ends by this.
            self._feeds.follow_anew()
            for task in running:
                task.cancel()
            # Woken and not cancelled: what it has begun to serve it also persists.
            self._events.put(Ticked(self._clock()))

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
        while not self._stopping.is_set():
            for event in await self._events.take():
                await self._take(event)

    async def _take(self, event: Event) -> None:
        for command in self._replica.receive(event):
            await self._carry_out(command)
        self._tell_metrics()
        if self._replica.stopped is None:
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = self._clock()

    def _tell_metrics(self) -> None:
        forged = self._replica.forged - self._forged_told
        if forged:
            self._forged_told += forged
            _FORGED.inc(by=forged)
            _LOG.error("heard what the writer did not sign: %d", forged)
        told = self._replica.behind, self._replica.state
        if told != self._told:
            self._told = told
            _BEHIND.set(told[0])
            _STATE.state(told[1])

    async def _carry_out(self, command: Command) -> None:
        match command:
            case Advance():
                await self._advance(command)
            case Fetch() | FetchSnapshot():
                # Another task does it: entries go on arriving while a fetch is under way.
                self._fetcher.want(command)
            case Quarantine(reason) | Halt(reason):
                _STOPS.labels(self._replica.state).inc()
                _LOG.error("this replica stops following: %s", reason)
                self.report_soon()
            case _:
                assert_never(command)

    async def _advance(self, advance: Advance) -> None:
        before, here = self.position, advance.position
        self._last = advance.entries[-1] if advance.snapshot is None else advance.snapshot.entry
        # Swapped before it is kept on disk: a disk that fails or hangs costs the files, and not the
        # cluster.
        self.resolver = Resolver.of(advance.registry, here, self.resolver)
        _APPLIED.set(here.epoch)
        # Wakes those who wait now; they look again, and may wait for the next one.
        self._advanced.set()
        self._advanced.clear()
        for callback in self._on_change:
            callback(self.resolver)
        if before is None or before.log_id != here.log_id:
            self._feeds.follow_anew()
        self.report_soon()
        # A crash before this leaves files that are behind what was served: a fetch mends it.
        await self._persist(advance)

    async def _persist(self, advance: Advance) -> None:
        files, snapshot = self._files, advance.snapshot
        if files is None:
            return
        if snapshot is None:
            await asyncio.to_thread(files.took_entries, advance.entries, advance.registry)
        elif kept := await asyncio.to_thread(files.took_snapshot, snapshot, advance.registry):
            # A replica that lost its snapshot may alone hold what the writer lost: it follows what
            # its tail leads on to.
            self._events.put(RangeArrived(0, kept))

    # -- what the reports ask --

    def resync(self) -> None:
        """Take the writer's snapshot, whatever is served now."""
        self._events.put(ResyncAsked())

    def report(self, *, leaving: bool) -> ReplicaReport:
        """The report of this replica as of now."""
        replica, here = self._replica, self.position
        return ReplicaReport(
            role=self._role,
            id=self._id,
            life=self._life,
            log_id=here.log_id if here is not None else "",
            epoch=here.epoch if here is not None else 0,
            hash=here.hash if here is not None else "",
            digest=self.resolver.registry.digest if here is not None else "",
            received=replica.received,
            state=replica.state,
            reason=replica.reason,
            speaks=SPEAKS,
            models=self._process.models(),
            traffic=self._process.traffic(),
            adapters=self._process.adapters(),
            place=self._process.place,
            trouble=self._process.trouble(),
            leaving=leaving,
            signature=self._last.signature if here is not None and self._last else None,
        )


def _limits_of(settings: FollowerSettings) -> ReplicaLimits:
    return ReplicaLimits(
        retry_s=settings.replica_retry_s,
        retry_max_s=settings.replica_retry_max_s,
        stale_after_s=settings.replica_stale_after_s,
    )


def _files_of(settings: FollowerSettings) -> ReplicaFiles | None:
    if settings.replica_dir is None:
        return None
    show_room(settings.replica_dir)
    return ReplicaFiles(settings.replica_dir, tail_entries_min=settings.replica_tail_entries)


def _trust_of(settings: FollowerSettings) -> Trust:
    try:
        return first_trust(settings.config_public_key)
    except ValueError as error:
        raise FixRequest(f"config_public_key: {error}") from error
