"""A writer, one step at a time: the real control plane on a disk and a stream in memory.

*shell.* Sequencer, draft, rules, roll call, recovery and publisher are those of production. Only
their loop is the simulated one, run to the end of each step. So nothing happens between two steps,
and when it publishes is for the machine to say.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from sie_config.log.store import Store
from sie_config.settings import ConfigSettings
from sie_config.start.opened_log import OpenedLog
from sie_config.writer.draft import Outcome, Write
from sie_config.writer.operations import Operation, work_out
from sie_config.writer.reverting import revert_commands
from sie_config.writer.rules import Expectation
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import Recovery
from sie_config.writer_process import ControlPlane
from sie_core.registry import Registry
from sie_schemas.entry import Entry
from sie_schemas.errors import FixRequest, SIEError
from sie_testing.contracts.memory_stream import MemoryStream
from sie_testing.signing import WRITER_KEY
from sie_testing.simulation.load import keyed
from sie_testing.simulation.processes import LoopThread
from sie_testing.simulation.truth import Truth
from sie_testing.simulation.volume import MemoryHeadFile, MemoryJournal, MemoryLogFile, Volume
from sie_testing.stage.epoch import EPOCH_US
from sie_testing.stage.loop import Host, SimulatedLoop

__all__ = ["Streams", "WriterNode"]

T = TypeVar("T")
_SETTINGS: Final = ConfigSettings(
    data_dir=Path("/volume"), page_entries_max=4, tail_entries=4, roll_call_s=0.1
)


class Streams:
    """The broker's config streams, by log id."""

    def __init__(self) -> None:
        self.by_log: dict[str, MemoryStream] = {}
        self.connected = True

    def of(self, log_id: str) -> MemoryStream:
        """One log's stream."""
        stream = self.by_log.setdefault(log_id, MemoryStream())
        stream.connected = self.connected
        return stream

    def connect(self, connected: bool) -> None:
        """Take the broker away, or give it back."""
        self.connected = connected
        for stream in self.by_log.values():
            stream.connected = connected


class WriterNode:
    """One life of one writer. Owner: the machine. Made by `open`; ended by `kill`."""

    def __init__(
        self,
        loop: SimulatedLoop,
        volume: Volume,
        truth: Truth,
        life: int,
        now_us: Callable[[], int],
    ) -> None:
        self._now_us = now_us
        self.volume: Final = volume
        self._loop = loop
        self._host = Host("config", life)
        self._ids = random.Random(f"writer/{life}")
        self._stop = asyncio.Event()
        self._file = MemoryLogFile(volume, on_commit=truth.committed)
        self.plane: ControlPlane

    @classmethod
    def open(
        cls,
        loop: SimulatedLoop,
        volume: Volume,
        truth: Truth,
        streams: Streams,
        *,
        life: int,
        reports: Sequence[bytes],
        now_us: Callable[[], int] = lambda: EPOCH_US,
    ) -> "WriterNode":
        """Open the log, hear these reports at the roll call, begin. Raises `SIEError`."""
        node = cls(loop, volume, truth, life, now_us)
        try:
            node._run(node._opened(streams, reports))
        except SIEError:
            node.kill()
            raise
        return node

    @property
    def in_recovery(self) -> bool:
        """True if it says that its log is not to be trusted."""
        return isinstance(self.plane.sequencer.state, Recovery)

    @property
    def may_go_on(self) -> bool:
        """True if its disk never failed, and its tenure began: what else asks for a new look."""
        return self.plane.store.failed is None and self.plane.sequencer.has_begun

    def write(self, write: Write) -> Outcome:
        """Write and wait for the answer. Raises `SIEError`."""
        outcome, _ = self._run(self.plane.write(write))
        return outcome

    def batch(
        self, operations: Sequence[Operation], *, simultaneous: bool, key: str
    ) -> Write | None:
        """Work a batch out against what the writer has now; None where it asks for what is not."""
        expects = [Expectation() for _ in operations]
        try:
            found = self._run(work_out(operations, expects, self.plane.sequencer.registry))
        except FixRequest:
            return None
        return replace(
            keyed(found.commands, key), basis=tuple(found.basis), simultaneous=simultaneous
        )

    def revert(self, then: Registry, *, key: str) -> Write:
        """The write that brings the documents of another registry back."""
        sequencer = self.plane.sequencer
        commands = revert_commands(sequencer.registry, then, None)
        return replace(
            keyed(commands, key), basis_epoch=sequencer.position.epoch, simultaneous=True
        )

    def publish(self) -> None:
        """Verify the stream, and put on it what is missing."""
        publisher = self.plane.broadcast.publisher
        if publisher is not None and not self.in_recovery:
            publisher.distrust()
            self._run(publisher.catch_up())

    def compact(self, low_water: int) -> None:
        """Move the low water. Raises `SIEError`."""
        self._run(self.plane.compact(low_water))

    def hear(self, report: bytes) -> None:
        """A replica's report comes in over the bus."""
        self._run(self.plane.replicas.hearing.hear(report))

    def snapshot(self) -> bytes:
        """The bytes that `/v1/configs/export` gives."""
        return self._run(self.plane.exports.newest(self.plane.sequencer)).data

    def page(self, after: int, until: int) -> list[Entry]:
        """The entries that `/v1/configs/log` gives. Raises `SIEError`."""
        return self._run(self.plane.journal.page(after, until, 4))

    def kill(self) -> None:
        """End it at once."""
        self._loop.kill(self._host)
        self._file.close()
        # Its tasks unwind now, and not under the feet of the next life.
        self._loop.run_until_complete(asyncio.sleep(0.1))

    async def _opened(self, streams: Streams, reports: Sequence[bytes]) -> None:
        store = Store(self._file, LoopThread())
        replayed = await store.replay()
        journal = MemoryJournal(self.volume, tail_entries=_SETTINGS.tail_entries)
        sequencer = Sequencer(
            store,
            journal,
            replayed,
            now_us=self._now_us,
            new_id=lambda size: self._ids.randbytes(size).hex(),
            group_writes_max=4,
            waiting_writes_max=8,
            signing_key=WRITER_KEY,
        )
        self.plane = ControlPlane(
            _SETTINGS,
            OpenedLog(
                store,
                journal,
                sequencer,
                MemoryHeadFile(self.volume, self._file),
                damage=replayed.damage,
                checkpoint=None,
                taken_over=0,
            ),
            bus=None,
            stream_of=streams.of,
            clock=self._loop.time,
        )
        for report in reports:
            await self.plane.replicas.hearing.hear(report)
        await self.plane.start()
        self._loop.create_task(sequencer.run(self._stop), context=self._host.context.copy())

    def _run(self, step: Coroutine[Any, Any, T]) -> T:
        task = self._loop.create_task(step, context=self._host.context.copy())
        return self._loop.run_until_complete(task)
