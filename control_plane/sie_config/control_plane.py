"""The control plane of one process: the log, its writer, and what follows from both.

*shell.* Opens the file, judges it with witnesses, begins the tenure, and runs the loops until it is
told to stop. Promises that nothing is served before the file was verified, and that no write is
taken before the roll call is over. The bus may be absent: everything but the stream then works.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from prometheus_client import Counter

from sie_config.announcer import announce, head_at
from sie_config.checkpoint import CheckpointFile
from sie_config.checkpoint_keeper import CheckpointKeeper
from sie_config.convergence_watch import ConvergenceWatch
from sie_config.draft import Outcome, Write
from sie_config.exports import Exports
from sie_config.gates import check_in_use
from sie_config.head_file import HeadFile
from sie_config.journal import Journal
from sie_config.log_file import LogDamaged, StorageFailed, StorageFull
from sie_config.lookup import Lookup
from sie_config.publisher import Publisher, Stream
from sie_config.refusals import Refusals
from sie_config.reports import Reports
from sie_config.roll_call import RollCall
from sie_config.rules import Delete, Put
from sie_config.self_check import Checked, SelfCheck
from sie_config.sequencer import Sequencer
from sie_config.settings import ConfigSettings
from sie_config.store import Store
from sie_config.timeline import Timeline
from sie_config.waiting import Turnstile, first_of
from sie_config.witnesses import Claim, choices
from sie_config.writer_state import UNFENCED, ReadOnly, Recovery, Serving, refusal
from sie_core.chain import position_of
from sie_runtime.bus import Bus, BusUnavailable, Message
from sie_runtime.log_stream import LogStream
from sie_schemas.errors import FixRequest, OurFault, SIEError
from sie_schemas.fleet import RECOUNT_DECODER, Head, Recount
from sie_schemas.malformed import MALFORMED

__all__ = ["LOG_FILE", "ControlPlane", "streams_of"]

_LOG: Final = logging.getLogger(__name__)
_FORKS = Counter("sie_config_forks_total", "reports of another entry than the log has")
LOG_FILE: Final = "log.sqlite"
REFUSED_FILE: Final = "refused.sqlite"
LOOKUP_FILE: Final = "lookup.sqlite"


def _unix_us() -> int:
    return time.time_ns() // 1000


class ControlPlane:
    """All parts of one writer. Made by `open`, run by `run`, closed by its owner."""

    def __init__(
        self,
        settings: ConfigSettings,
        store: Store,
        journal: Journal,
        sequencer: Sequencer,
        *,
        head_file: HeadFile,
        bus: Bus | None,
        stream_of: Callable[[str], Stream] | None,
        clock: Callable[[], float] = time.monotonic,
        checkpoint: CheckpointFile | None = None,
        taken_over: int = 0,
    ) -> None:
        self._clock = clock
        self._taken_over = taken_over
        self.settings = settings
        self.store = store
        self.journal = journal
        self.sequencer = sequencer
        self.exports = Exports()
        self.reports = Reports(
            ttl_s=settings.report_ttl_s,
            forget_s=settings.report_forget_s,
            replicas_max=settings.replicas_max,
            report_bytes_max=settings.report_bytes_max,
        )
        self.turnstile = Turnstile(settings.answers_at_once_max)
        self._keeper: CheckpointKeeper | None = None
        if checkpoint is not None:
            checkpoint.epoch = taken_over
            self._keeper = CheckpointKeeper(
                checkpoint, sequencer, self.exports, every_entries=settings.checkpoint_entries
            )
        self.timeline = Timeline(store.path, sequencer, registries_max=settings.past_registries)
        self.lookup = Lookup(
            store.path.with_name(LOOKUP_FILE), store.path, head=lambda: sequencer.position.epoch
        )
        self.refusals = Refusals(
            store.path.with_name(REFUSED_FILE),
            now_us=_unix_us,
            rows_max=settings.audit_rows_max,
            rows_per_minute=settings.audit_rows_per_minute,
        )
        self.convergence = ConvergenceWatch(
            self.reports,
            journal,
            clock=clock,
            ttl_s=settings.report_ttl_s,
            commits_max=settings.commits_remembered,
        )
        self.publisher: Publisher | None = None
        self.low_water = 1
        self._bus = bus
        self._stream_of = stream_of
        self._head_file = head_file
        self._roll_call = RollCall(
            sequencer,
            journal,
            self.reports,
            self._head_file,
            bus=bus,
            stream_of=stream_of,
            listen_s=settings.roll_call_s,
            broker_wait_s=settings.broker_wait_s,
        )
        last = sequencer.last
        self.self_check = SelfCheck(
            journal,
            self.exports,
            sequencer,
            # A start from a checkpoint did not fold what is before it; the first round does.
            known=(sequencer.registry, position_of(last)) if last and not taken_over else None,
            replicas=lambda: self.reports.living(self._clock()),
            ask=self._recounted,
            share=settings.full_fold_share,
        )
        self.stopping = False
        self.polls_waiting = 0

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
        store = await Store.open(settings.data_dir / LOG_FILE, bytes_max=settings.store_bytes_max)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(store.close)
            checkpoint = CheckpointFile(store.path) if settings.checkpoint_entries else None
            known = await asyncio.to_thread(checkpoint.read) if checkpoint is not None else None
            replayed = await store.replay(known)
            journal = await Journal.open(store.path, tail_entries=settings.tail_entries)
            undo.push_async_callback(journal.close)
            sequencer = Sequencer(
                store,
                journal,
                replayed,
                now_us=now_us,
                group_writes_max=settings.group_writes_max,
                waiting_writes_max=settings.waiting_writes_max,
            )
            if stream_of is None and bus is not None:
                stream_of = streams_of(bus, settings)
            plane = cls(
                settings,
                store,
                journal,
                sequencer,
                head_file=HeadFile(store.path),
                bus=bus,
                stream_of=stream_of,
                checkpoint=checkpoint,
                taken_over=replayed.taken_over,
            )
            await plane.start(replayed.damage)
            undo.pop_all()
        return plane

    @property
    def head(self) -> Head:
        """The head as it is announced."""
        return head_at(self.sequencer.position, self.low_water)

    async def write(self, write: Write) -> tuple[Outcome, bool]:
        """Write, unless a live replica could not read it. Raises `SIEError`."""
        kinds = [f"{c.kind}.{'put' if isinstance(c, Put) else 'delete'}" for c in write.commands]
        lacking = self.reports.lacking(kinds, self._clock())
        if lacking:
            raise FixRequest(
                f"{', '.join(lacking[:5])} cannot read {', '.join(sorted(set(kinds)))} and would "
                "halt: upgrade them first",
                code="ENTITY_CONFLICT",
            )
        self._check_gates(write)
        outcome, repeated = await self.sequencer.submit(write)
        if outcome.changed and not repeated and not write.dry_run:
            self.convergence.committed(outcome.entry.epoch)
        return outcome, repeated

    def now(self) -> float:
        """The clock by which reports are dated."""
        return self._clock()

    def _check_gates(self, write: Write) -> None:
        registry = self.sequencer.registry
        gone = [c.key for c in write.commands if c.kind == "model" and isinstance(c, Delete)]
        check_in_use(self.reports.users_of(gone, self._clock()), forced=write.forced)
        added = sum(
            isinstance(c, Put) and registry.get(c.kind, c.key) is None for c in write.commands
        )
        if added and len(registry) + added > self.settings.entities_max:
            raise FixRequest(
                f"the registry holds {len(registry)} entities and takes up to "
                f"{self.settings.entities_max}",
                code="PAYLOAD_TOO_LARGE",
            )

    def is_published(self, epoch: int) -> bool:
        """Whether an epoch is on the stream, as far as is verified."""
        return self.publisher is not None and self.publisher.published >= epoch

    async def run(self, stop: asyncio.Event) -> None:
        """Run every loop until `stop`. Raises `SIEError` when only a fresh process may go on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sequencer.run(stop))
            tasks.create_task(self._watch_disk(stop))
            tasks.create_task(self.refusals.run(stop, every_s=self.settings.audit_flush_s))
            if self.settings.lookup_s > 0:
                tasks.create_task(self.lookup.run(stop, every_s=self.settings.lookup_s))
            if self._taken_over > 0 or self.settings.self_check_s > 0:
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
        """When `stop` is set, let every waiting poll go, so that the server can drain."""
        await stop.wait()
        self.stopping = True
        self.sequencer.wake_followers()

    def replicas_view(self) -> dict[str, Any]:
        """Every replica that reports, against the head."""
        return self.reports.view(self.sequencer.position, self._clock())

    async def close(self) -> None:
        """Close readers first, so that the writer's last checkpoint leaves one whole file."""
        await self._write_head_file()
        if self._keeper is not None:
            await self._keeper.finish()
        await self.refusals.close()
        await self.lookup.close()
        await self.timeline.close()
        await self.journal.close()
        await self.store.close()

    async def start(self, damage: LogDamaged | None) -> None:
        """Judge the log with witnesses and begin the tenure: once, before anything is served."""
        head = self.sequencer.last.epoch if self.sequencer.last is not None else 0
        # A file that lost entries may have a mark past its end, and what follows is served.
        self.low_water = min(await self.store.low_water(), head + 1)
        if damage is not None and self.sequencer.last is None:
            raise damage
        if self._bus is not None:
            await self._bus.subscribe("sie.config.report.>", self._report_heard)
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
        if self._stream_of is not None and not isinstance(self.sequencer.state, Recovery):
            self.publisher = self._publisher(self._stream_of)
            # With the bus up, the tenure is on the stream before the first answer.
            await self.publisher.catch_up()
            self._take_writes()
        await self._write_head_file()

    def _start_to_read(self, failed: SIEError, damage: LogDamaged | None) -> None:
        """Serve what the file has and judge nothing: a fresh process does once the disk writes."""
        if self.sequencer.last is None:
            raise failed
        _LOG.error("the disk takes no writes; reads go on", extra={"reason": failed.message})
        state = ReadOnly(failed.message, code=failed.code)
        self.sequencer.enter(state if damage is None else Recovery(damage.message))

    def _publisher(self, stream_of: Callable[[str], Stream]) -> Publisher:
        publisher = Publisher(
            stream_of(self.sequencer.position.log_id),
            self.sequencer,
            self.journal,
            low_water=lambda: self.low_water,
            retry_s=self.settings.publish_retry_s,
            verify_s=self.settings.publish_verify_s,
        )
        if self._bus is not None:
            self._bus.on_reconnect(publisher.distrust)
        return publisher

    async def _publish(self, stop: asyncio.Event) -> None:
        """Publish and announce until `stop`, once there is nothing lacking."""
        await self._heal(stop)
        recovers = isinstance(self.sequencer.state, Recovery)
        if self._stream_of is None or recovers or self.store.read_only:
            return
        if self.publisher is None:
            self.publisher = self._publisher(self._stream_of)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.publisher.run(stop))
            if self._bus is not None and self.settings.bookmark_s > 0:
                tasks.create_task(
                    announce(
                        self._bus,
                        self.publisher,
                        self.sequencer,
                        self.journal,
                        every_s=self.settings.bookmark_s,
                        stop=stop,
                    )
                )

    async def _heal(self, stop: asyncio.Event) -> None:
        """Go on asking for what the file lost: whoever has it may come later."""
        while not stop.is_set() and self._lacks_entries():
            await first_of(stop.wait(), timeout_s=self.settings.recovery_retry_s)
            if not stop.is_set():
                await self._roll_call.resume()

    def _lacks_entries(self) -> bool:
        state = self.sequencer.state
        return isinstance(state, Recovery) and state.lacking is not None

    async def _report_heard(self, message: Message) -> None:
        await self.hear_report(message.data, subject=message.subject, vouched=True)

    async def hear_report(self, data: bytes, *, subject: str = "", vouched: bool) -> bool:
        """Take a replica's report and act on what it bears witness to. False for a malformed one.

        The broker vouches for whoever reports on it; over HTTP nobody does, and only a report that
        comes with its entry is a claim.
        """
        malformed = self.reports.malformed
        claim = self.reports.receive(data, self._clock(), subject=subject, vouched=vouched)
        self.convergence.heard(claim)
        if claim is not None:
            await self._weigh(claim)
        return self.reports.malformed == malformed

    async def _weigh(self, claim: Claim) -> None:
        last = self.sequencer.last
        # Before the tenure has begun, claims are weighed by the roll call.
        if not self.sequencer.has_begun or last is None or claim.log_id != last.log_id:
            return
        ours = await self.journal.entry(claim.epoch) if claim.epoch <= last.epoch else None
        if ours is not None and ours.hash == claim.hash:
            return
        if ours is not None:
            _FORKS.inc()
            _LOG.error("a replica has another entry than the log", extra={"claim": str(claim)})
        if not isinstance(self.sequencer.state, Recovery):
            head = self.sequencer.position
            what = "but" if ours is None else "with another hash, and"
            parted = min(claim.epoch, self.sequencer.begun_at)
            reason = f"{claim}, {what} this writer is at {head}. {choices(parted, head)}"
            _LOG.error("the writer stops writing", extra={"reason": reason})
            self.sequencer.enter(Recovery(reason))

    def _take_writes(self) -> None:
        """Serve, once the tenure is on the stream; with the bus away, nothing can fence at all."""
        fenced = self.is_published(self.sequencer.begun_at)
        if self.sequencer.state == UNFENCED and (fenced or not self._bus_is_up()):
            self.sequencer.enter(Serving(self.sequencer.witnessed))

    def _bus_is_up(self) -> bool:
        return self._bus is not None and self._bus.connected

    async def resync(self, role: str, replica: str) -> None:
        """Have a replica forget its history and take our snapshot.

        Raises `BusUnavailable`, and `FixRequest` for one that is unknown besides.
        """
        subject = f"sie.config.resync.{role}.{replica}"
        try:
            if self._bus is None:
                raise BusUnavailable("there is no broker")
            await self._bus.request(subject, b"", timeout_s=self.settings.ack_wait_s)
        except SIEError as error:
            known = {(seen.report.role, seen.report.id) for seen in self.reports.sightings()}
            if (role, replica) not in known:
                raise FixRequest(
                    f"no {role} {replica!r} reports here; `sie replicas` lists those that do",
                    code="NOT_FOUND",
                    field="id",
                ) from error
            raise BusUnavailable(
                f"{role} {replica} was not reached: {error.message}. Or stop it, remove its "
                "replica folder, and start it"
            ) from error

    async def _recounted(self, role: str, replica: str) -> Recount:
        if self._bus is None:
            raise BusUnavailable("without a broker no replica can be asked")
        subject = f"sie.config.recount.{role}.{replica}"
        answer = await self._bus.request(subject, b"", timeout_s=self.settings.self_check_ask_s)
        try:
            return RECOUNT_DECODER.decode(answer)
        except MALFORMED as error:
            raise OurFault(f"what {role} {replica} answered is no count: {error}") from error

    def act_on(self, checked: Checked) -> None:
        """What a round of the self-check found: a log that does not add up is not written to."""
        if checked.damage is not None:
            _LOG.error("the writer stops writing", extra={"reason": checked.damage.message})
            self.sequencer.enter(Recovery(checked.damage.message))
        if checked.replica is not None and checked.replica.sound is False:
            _LOG.error(
                "a replica serves what the log does not say: restart it",
                extra={"replica": f"{checked.replica.role} {checked.replica.id}"},
            )

    async def _watch_disk(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            failed = self.store.failed
            if isinstance(failed, StorageFailed) or (failed is not None and self.store.read_only):
                await self._end_once_the_disk_writes(failed)
            else:
                await self._look()
            await first_of(stop.wait(), timeout_s=self.settings.head_file_s)

    async def _look(self) -> None:
        if not self.sequencer.has_begun and not isinstance(self.sequencer.state, Recovery):
            await self._roll_call.resume()
        self._take_writes()
        await self._write_head_file()
        if self._keeper is not None:
            await self._keeper.look()

    async def _end_once_the_disk_writes(self, failed: SIEError) -> None:
        """Raises `failed`: only a process that opens the file anew learns what a commit came to.

        Until the disk takes a write again a fresh one could not write either: this one serves
        reads meanwhile.
        """
        try:
            if self.store.read_only:
                await self.store.try_to_write()
            else:
                await self._head_file.write(self.sequencer.position, again=True)
        except (OSError, StorageFailed, StorageFull) as error:
            _LOG.debug("the disk still fails; reads go on", extra={"reason": str(error)})
        else:
            raise failed

    async def _write_head_file(self) -> None:
        # In recovery, and where nothing was judged yet, the older head file is evidence, and stays.
        if self.sequencer.last is None or isinstance(self.sequencer.state, Recovery):
            return
        if self.store.read_only:
            return
        try:
            await self._head_file.write(self.sequencer.position)
        except OSError as error:
            _LOG.warning("the head file was not written", extra={"reason": str(error)})


def streams_of(bus: Bus, settings: ConfigSettings) -> Callable[[str], Stream]:
    """The broker's stream of each log."""

    def stream_of(log_id: str) -> Stream:
        return LogStream(bus, log_id, replicas=settings.nats_replicas)

    return stream_of
