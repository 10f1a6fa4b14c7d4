"""The control plane of one process: the log, its writer, and what follows from both.

*shell.* Opens the file, judges it with witnesses, begins the tenure, and runs the loops until it is
told to stop. Promises that nothing is served before the file was verified, and that no write is
taken before the roll call is over. The bus may be absent: everything but the stream then works.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from sie_config.documents.manifests import Manifests
from sie_config.log.storage_faults import LogDamaged
from sie_config.log.store import Store
from sie_config.past.lookup import Lookup
from sie_config.past.refusals import Refusals
from sie_config.past.timeline import Timeline
from sie_config.replicas.parts import ReplicaParts
from sie_config.replicas.reports import Reports
from sie_config.settings import ConfigSettings
from sie_config.start.opened_log import OpenedLog
from sie_config.start.roll_call import RollCall
from sie_config.stream.announcer import head_at
from sie_config.stream.broadcast import Broadcast, streams_of
from sie_config.stream.stream_witness import Stream
from sie_config.upkeep.checkpoint_keeper import CheckpointKeeper
from sie_config.upkeep.disk_watch import DiskWatch
from sie_config.upkeep.exports import Exports
from sie_config.upkeep.log_gauges import show_log
from sie_config.upkeep.self_check import Checked, SelfCheck
from sie_config.writer.draft import Outcome, Write
from sie_config.writer.gates import Gates
from sie_config.writer.seed import first_entries
from sie_config.writer.writer_state import ReadOnly, Recovery, refusal
from sie_core.chain import position_of
from sie_core.troubles import Signals
from sie_runtime.broker.bus import Bus
from sie_runtime.http.connections import within_descriptors
from sie_runtime.process.aside import Aside
from sie_runtime.process.disk_room import free_bytes, total_bytes
from sie_runtime.process.waiting import Turnstile, Waits, first_of
from sie_schemas.api.log import Replicas
from sie_schemas.errors import SIEError
from sie_schemas.fleet import Head

__all__ = ["LOOKUP_FILE", "ControlPlane"]

_LOG: Final = logging.getLogger(__name__)
REFUSED_FILE: Final = "refused.sqlite"
LOOKUP_FILE: Final = "lookup.sqlite"


def _unix_us() -> int:
    return time.time_ns() // 1000


class ControlPlane:
    """All parts of one writer. Made by `open`, run by `run`, closed by its owner."""

    def __init__(
        self,
        settings: ConfigSettings,
        log: OpenedLog,
        *,
        bus: Bus | None,
        stream_of: Callable[[str], Stream] | None,
        clock: Callable[[], float],
    ) -> None:
        """`stream_of` gives the stream of a log id."""
        self.settings = settings
        self.bus = bus
        self.now = clock
        """The clock by which reports are dated."""
        self._log = log
        self.store, self.journal, self.sequencer = log.store, log.journal, log.sequencer

        self.low_water = 1
        self.stopping = False
        self.signals = Signals()
        """The figures of broker and disk as they were seen last; `watch_usage` brings them."""

        # What bounds those who ask.
        self.bodies = Aside("bodies")
        self.turnstile = Turnstile(settings.answers_at_once_max)
        self.pages = Turnstile(settings.pages_at_once_max)
        # The other half is for who asks something: with long polls alone a reader's token once
        # took every connection, and with them the health check.
        self.waits = Waits(max(1, within_descriptors(settings.http_connections_max) // 2))

        # What is read of the log beside its entries.
        self.exports = Exports()
        self.manifests = Manifests(settings)
        self.timeline = _timeline_of(settings, log)
        self.lookup = _lookup_of(log)
        self.refusals = _refusals_of(settings, log.store)

        # What follows the log, and may stop its writer.
        earlier = self.timeline.entity
        self.replicas = ReplicaParts(
            settings, log.sequencer, log.journal, bus=bus, earlier=earlier, clock=clock
        )
        log.sequencer.gates = Gates(self.replicas.live, settings.entities_max)
        self.broadcast = Broadcast(
            settings,
            log.sequencer,
            log.journal,
            bus=bus,
            stream_of=stream_of,
            low_water=lambda: self.low_water,
        )
        self._roll_call = _roll_call_of(
            settings, log, self.replicas.reports, bus=bus, stream_of=stream_of
        )

        # What looks after the file.
        keeper = _keeper_of(settings, log, self.exports)
        self._disk_watch = DiskWatch(log.store, log.sequencer, log.head_file, keeper)
        self.self_check = _self_check_of(settings, log, self.exports, self.replicas, clock)
        show_log(log.store.path, self.replicas.reports, lambda: log.sequencer.position, clock)

    @classmethod
    async def open(
        cls,
        settings: ConfigSettings,
        *,
        bus: Bus | None = None,
        stream_of: Callable[[str], Stream] | None = None,
        now_us: Callable[[], int] = _unix_us,
    ) -> "ControlPlane":
        """Open the log, judge it and begin the tenure. Raises `SIEError` when it cannot be served.

        `stream_of` gives the stream of a log id; by default the bus's.
        """
        if stream_of is None and bus is not None:
            stream_of = streams_of(bus, settings)
        log = await OpenedLog.open(settings, now_us=now_us)
        try:
            plane = cls(settings, log, bus=bus, stream_of=stream_of, clock=time.monotonic)
            await plane.start()
        except BaseException:
            await log.close()
            raise
        return plane

    @property
    def head(self) -> Head:
        """The head as it is announced."""
        assert self.sequencer.last is not None
        return head_at(self.sequencer.last, self.low_water)

    async def write(self, write: Write) -> tuple[Outcome, bool]:
        """Write what is worked out; the flag tells a repeated answer of a known key.

        Raises `SIEError`.
        """
        return await self.sequencer.once(write, partial(self.decide, write))

    async def decide(self, write: Write) -> Outcome:
        """Write, whatever its key. Raises `SIEError`."""
        outcome = await self.sequencer.submit(write)
        if outcome.changed and not write.dry_run:
            self.replicas.convergence.committed(outcome.entry.epoch)
        return outcome

    async def run(self, stop: asyncio.Event) -> None:
        """Run every loop until `stop`. Raises `SIEError` when only a fresh process may go on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sequencer.run(stop))
            every_s = self.settings.head_file_s
            tasks.create_task(self._disk_watch.run(stop, every_s=every_s, settle=self._settle))
            tasks.create_task(self.refusals.run(stop, every_s=self.settings.audit_flush_s))
            if self.settings.lookup_s > 0:
                tasks.create_task(self.lookup.run(stop, every_s=self.settings.lookup_s))
            if self._log.taken_over > 0 or self.settings.self_check_s > 0:
                every_s = self.settings.self_check_s
                tasks.create_task(self.self_check.run(stop, every_s=every_s, found=self.act_on))
            tasks.create_task(self._publish(stop))

    async def compact(self, low_water: int) -> None:
        """Serve deltas from this epoch on only. Raises as a write does; the mark never falls."""
        refused = refusal(self.sequencer.state)
        if refused is not None:
            raise refused
        await self.store.move_low_water(low_water)
        self.low_water = max(self.low_water, low_water)

    async def drain_on(self, stop: asyncio.Event) -> None:
        """Let every waiting poll go when `stop` is set, so that the server can drain."""
        await stop.wait()
        self.stopping = True
        self.manifests.close()
        self.sequencer.wake_followers()

    async def until_stopping(self) -> None:
        """Return once this process is to end: who waits for something else gives that up."""
        while not self.stopping:
            await self.sequencer.moved()

    def take_signals(self, signals: Signals) -> None:
        """Keep what was seen of the broker, and what is seen of the disk now."""
        folder = self.store.path.parent
        self.signals = msgspec.structs.replace(
            signals, disk_free=free_bytes(folder), disk=total_bytes(folder)
        )

    def replicas_view(self) -> Replicas:
        """Every replica that reports, against the head."""
        return self.replicas.reports.view(self.sequencer.position, self.now())

    async def close(self) -> None:
        """Close readers first, so that the writer leaves one whole file."""
        await self._disk_watch.finish()
        self.bodies.end()
        self.exports.close()
        self.self_check.close()
        await self.refusals.close()
        await self.lookup.close()
        await self.timeline.close()
        await self._log.close()

    async def start(self) -> None:
        """Judge the log with witnesses and begin the tenure: once, before anything is served."""
        damage = self._log.damage
        head = self.sequencer.last.epoch if self.sequencer.last is not None else 0
        # A file that lost entries may have a mark past its end, and what follows is served.
        self.low_water = min(await self.store.low_water(), head + 1)
        if damage is not None and self.sequencer.last is None:
            raise damage
        if self.bus is not None:
            # Before the roll call asks: an answer that nobody hears is never given again.
            await self.replicas.hearing.listen(self.bus)
        if self.store.failed is not None:
            self._start_to_read(self.store.failed, damage)
            return
        await self._roll_call.listen()
        if self.sequencer.last is None:
            await self._roll_call.begin_log(new_log=self.settings.new_log)
        elif damage is not None:
            self.sequencer.enter(Recovery(damage.message))
        else:
            await self._roll_call.resume()
        await self.broadcast.begin()
        await self._disk_watch.write_head()

    def _start_to_read(self, failed: SIEError, damage: LogDamaged | None) -> None:
        """Serve what the file has and judge nothing: a fresh process does once the disk writes."""
        if self.sequencer.last is None:
            raise failed
        _LOG.error("the disk takes no writes; reads go on", extra={"reason": failed.message})
        state = ReadOnly(failed.message, code=failed.code)
        self.sequencer.enter(state if damage is None else Recovery(damage.message))

    async def _publish(self, stop: asyncio.Event) -> None:
        """Publish and announce until `stop`, once there is nothing lacking."""
        await self._heal(stop)
        if not self.store.read_only:
            await self.broadcast.run(stop)

    async def _settle(self) -> None:
        """Take up what could not be done at the start, once it can."""
        if not self.sequencer.has_begun and not isinstance(self.sequencer.state, Recovery):
            await self._roll_call.resume()
        self.broadcast.take_writes()

    async def _heal(self, stop: asyncio.Event) -> None:
        """Go on asking for what the file lost: whoever has it may come later."""
        while not stop.is_set() and self._lacks_entries():
            await first_of(stop.wait(), timeout_s=self.settings.recovery_retry_s)
            if not stop.is_set():
                await self._roll_call.resume()

    def _lacks_entries(self) -> bool:
        state = self.sequencer.state
        return isinstance(state, Recovery) and state.lacking is not None

    def act_on(self, checked: Checked) -> None:
        """Act on a round of the self-check: a log that does not add up is not written to."""
        if checked.damage is not None:
            _LOG.error("the writer stops writing", extra={"reason": checked.damage.message})
            self.sequencer.enter(Recovery(checked.damage.message))
        if checked.replica is not None and checked.replica.sound is False:
            _LOG.error(
                "a replica serves what the log does not say: restart it",
                extra={"replica": f"{checked.replica.role} {checked.replica.id}"},
            )


def _timeline_of(settings: ConfigSettings, log: OpenedLog) -> Timeline:
    return Timeline(
        log.store.path,
        log.sequencer,
        registries_max=settings.past_registries,
        now_us=_unix_us,
    )


def _lookup_of(log: OpenedLog) -> Lookup:
    return Lookup(
        log.store.path.with_name(LOOKUP_FILE),
        log.store.path,
        head=lambda: log.sequencer.position.epoch,
        moved=log.sequencer.moved,
    )


def _refusals_of(settings: ConfigSettings, store: Store) -> Refusals:
    return Refusals(
        store.path.with_name(REFUSED_FILE),
        now_us=_unix_us,
        rows_max=settings.audit_rows_max,
        rows_per_minute=settings.audit_rows_per_minute,
    )


def _roll_call_of(
    settings: ConfigSettings,
    log: OpenedLog,
    reports: Reports,
    *,
    bus: Bus | None,
    stream_of: Callable[[str], Stream] | None,
) -> RollCall:
    return RollCall(
        log.sequencer,
        log.journal,
        reports,
        log.head_file,
        bus=bus,
        stream_of=stream_of,
        first=partial(first_entries, settings.catalog, settings.pools),
        listen_s=settings.roll_call_s,
        broker_wait_s=settings.broker_wait_s,
    )


def _keeper_of(
    settings: ConfigSettings, log: OpenedLog, exports: Exports
) -> CheckpointKeeper | None:
    if log.checkpoint is None:
        return None
    every_entries = settings.checkpoint_entries
    return CheckpointKeeper(log.checkpoint, log.sequencer, exports, every_entries=every_entries)


def _self_check_of(
    settings: ConfigSettings,
    log: OpenedLog,
    exports: Exports,
    replicas: ReplicaParts,
    clock: Callable[[], float],
) -> SelfCheck:
    last = log.sequencer.last
    # A start from a checkpoint did not fold what is before it; the first round does.
    known = (log.sequencer.registry, position_of(last)) if last and not log.taken_over else None
    return SelfCheck(
        log.journal,
        exports,
        log.sequencer,
        known=known,
        replicas=lambda: replicas.reports.living(clock()),
        ask=replicas.requests.recount,
        share=settings.full_fold_share,
        path=log.store.path,
    )
