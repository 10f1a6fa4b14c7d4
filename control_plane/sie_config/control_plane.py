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
from sie_config.draft import Outcome, Write
from sie_config.exports import Exports
from sie_config.head_file import HeadFile
from sie_config.journal import Journal
from sie_config.log_file import LogDamaged, StorageFailed
from sie_config.publisher import Publisher, Stream
from sie_config.reports import Reports
from sie_config.roll_call import RollCall
from sie_config.rules import Put
from sie_config.sequencer import Sequencer
from sie_config.settings import ConfigSettings
from sie_config.store import Store
from sie_config.waiting import first_of
from sie_config.writer_state import Recovery
from sie_runtime.bus import Bus, Message
from sie_runtime.log_stream import LogStream
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import Head

__all__ = ["LOG_FILE", "ControlPlane"]

_LOG: Final = logging.getLogger(__name__)
_FORKS = Counter("sie_config_forks_total", "reports of another entry than the log has")
LOG_FILE: Final = "log.sqlite"


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
        bus: Bus | None,
        stream_of: Callable[[str], Stream] | None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.journal = journal
        self.sequencer = sequencer
        self.exports = Exports()
        self.reports = Reports(
            ttl_s=settings.report_ttl_s,
            forget_s=settings.report_forget_s,
            replicas_max=settings.replicas_max,
        )
        self.publisher: Publisher | None = None
        self.low_water = 1
        self._bus = bus
        self._stream_of = stream_of
        self._head_file = HeadFile(store.path)
        self._roll_call = RollCall(
            sequencer,
            journal,
            self.reports,
            self._head_file,
            bus=bus,
            stream_of=stream_of,
            listen_s=settings.roll_call_s,
        )
        self._started = False
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
            replayed = await store.replay()
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
                stream_of = _streams_of(bus, settings)
            plane = cls(settings, store, journal, sequencer, bus=bus, stream_of=stream_of)
            await plane._start(replayed.damage)
            undo.pop_all()
        return plane

    @property
    def head(self) -> Head:
        """The head as it is announced."""
        return head_at(self.sequencer.position, self.low_water)

    async def write(self, write: Write) -> tuple[Outcome, bool]:
        """Write, unless a live replica could not read it. Raises `SIEError`."""
        kinds = [f"{c.kind}.{'put' if isinstance(c, Put) else 'delete'}" for c in write.commands]
        lacking = self.reports.lacking(kinds, time.monotonic())
        if lacking:
            raise FixRequest(
                f"{', '.join(lacking[:5])} cannot read {', '.join(sorted(set(kinds)))} and would "
                "halt: upgrade them first",
                code="ENTITY_CONFLICT",
            )
        return await self.sequencer.submit(write)

    def is_published(self, epoch: int) -> bool:
        """Whether an epoch is on the stream, as far as is verified."""
        return self.publisher is not None and self.publisher.published >= epoch

    async def run(self, stop: asyncio.Event) -> None:
        """Run every loop until `stop`. Raises `SIEError` when only a fresh process may go on."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sequencer.run(stop))
            tasks.create_task(self._watch_disk(stop))
            if self.publisher is not None:
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

    async def drain_on(self, stop: asyncio.Event) -> None:
        """When `stop` is set, let every waiting poll go, so that the server can drain."""
        await stop.wait()
        self.stopping = True
        self.sequencer.wake_followers()

    def replicas_view(self) -> dict[str, Any]:
        """Every replica that reports, against the head."""
        return self.reports.view(self.sequencer.position, time.monotonic())

    async def close(self) -> None:
        """Close readers first, so that the writer's last checkpoint leaves one whole file."""
        await self._write_head_file()
        await self.journal.close()
        await self.store.close()

    async def _start(self, damage: LogDamaged | None) -> None:
        self.low_water = await self.store.low_water()
        if damage is not None and self.sequencer.last is None:
            raise damage
        if self._bus is not None:
            await self._bus.subscribe("sie.config.report.>", self._report_heard)
        streams = await self._roll_call.listen()
        if self.sequencer.last is None:
            await self._roll_call.begin_log(streams, new_log=self.settings.new_log)
        elif damage is not None:
            self.sequencer.enter(Recovery(damage.message))
        else:
            await self._roll_call.resume()
        if self._stream_of is not None and not isinstance(self.sequencer.state, Recovery):
            self.publisher = self._publisher(self._stream_of)
            # With the bus up, the tenure is on the stream before the first answer.
            await self.publisher.catch_up()
        await self._write_head_file()
        self._started = True

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

    async def _report_heard(self, message: Message) -> None:
        claim = self.reports.receive(message.data, time.monotonic())
        last = self.sequencer.last
        if claim is None or not self._started or last is None or claim.log_id != last.log_id:
            return
        if claim.epoch > last.epoch:
            reason = f"{claim}, but this writer is at {self.sequencer.position}"
            _LOG.error("the writer stops writing", extra={"reason": reason})
            self.sequencer.enter(Recovery(reason))
            return
        entry = await self.journal.entry(claim.epoch)
        if entry is not None and entry.hash != claim.hash:
            _FORKS.inc()
            _LOG.error("a replica has another entry than the log", extra={"claim": str(claim)})

    async def _watch_disk(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if isinstance(self.store.failed, StorageFailed):
                # Only a process that opens the file anew can learn what the last commit came to.
                raise self.store.failed
            if not self.sequencer.has_begun and not isinstance(self.sequencer.state, Recovery):
                await self._roll_call.resume()
            await self._write_head_file()
            await first_of(stop.wait(), timeout_s=self.settings.head_file_s)

    async def _write_head_file(self) -> None:
        # In recovery the older head file is evidence, and stays.
        if self.sequencer.last is None or isinstance(self.sequencer.state, Recovery):
            return
        try:
            await self._head_file.write(self.sequencer.position)
        except OSError as error:
            _LOG.warning("the head file was not written", extra={"reason": str(error)})


def _streams_of(bus: Bus, settings: ConfigSettings) -> Callable[[str], Stream]:
    def stream_of(log_id: str) -> Stream:
        return LogStream(bus, log_id, replicas=settings.stream_replicas)

    return stream_of
