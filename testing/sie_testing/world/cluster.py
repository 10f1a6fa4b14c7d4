"""The cluster without I/O: one writer, its followers, and what is under way between them.

*shell.* What the rules of the machine do things with. Nothing moves by itself: a message arrives, a
fetch is answered and time passes when a rule says so. Writes that were acknowledged and entries
that readers saw are noted in `truth`, against which the machine holds the world.
"""

import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from hypothesis.stateful import RuleBasedStateMachine

from sie_config.writer.draft import Write
from sie_core.chain import position_of
from sie_core.replica.events import (
    EntryArrived,
    Event,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    Gone,
    HeadAnnounced,
    RangeArrived,
    SnapshotArrived,
    Ticked,
)
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Entry, EntryCorrupt, parse_envelope
from sie_schemas.errors import SIEError
from sie_schemas.snapshot import Snapshot, SnapshotCorrupt
from sie_testing.simulation.load import drawn_commands, keyed
from sie_testing.simulation.truth import Acknowledged, Truth
from sie_testing.simulation.volume import Volume
from sie_testing.stage.broken import Broken
from sie_testing.stage.epoch import EPOCH_US
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.stage.trace import Trace
from sie_testing.world.follower import FollowerNode
from sie_testing.world.writer import Streams, WriterNode

__all__ = ["Message", "Policy", "WiredCluster", "fetch_failed"]

Policy: TypeAlias = Callable[[Write], Write]
"""A write as it is to be written. Raises `SIEError` to refuse it."""

_FETCHES_MAX: Final = 40
"""A follower that asks on for ever ends here, and fails by what it lacks."""


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes on their way to one follower, and how they are read on arrival."""

    to: FollowerNode
    data: bytes
    read: Callable[[bytes], Event]


class WiredCluster(RuleBasedStateMachine):
    """A machine without rules. Two gateways and a worker follow one writer.

    `fired` counts what came about.
    """

    fired: ClassVar[Counter[str]] = Counter()
    policy: ClassVar[Policy] = staticmethod(lambda write: write)
    """A user's own: what it gives on is written, and what a client was told has to be so."""

    def __init__(self) -> None:
        super().__init__()
        # The order of what is ready inside one step is not the adversary's: one order is enough.
        self.loop: SimulatedLoop = SimulatedLoop(random.Random(0))  # type: ignore[abstract]
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(Trace(self.loop.time).listening())
        self.truth = Truth()
        self.volume = Volume()
        self.streams = Streams()
        self.now = 0.0
        self.lives = 0
        self.keys = 0
        self.clock_us = EPOCH_US
        """The writer's wall clock."""
        self.sent: dict[str, Write] = {}
        self.backups: list[Volume] = []
        self.wire: list[Message] = []
        self.cache: list[Snapshot] = []
        """Snapshots that were given once."""
        self.followers = [
            FollowerNode("g1", "gateway", self.truth),
            FollowerNode("g2", "gateway", self.truth),
            FollowerNode("w1", "worker", self.truth),
        ]
        self.writer: WriterNode | None = None
        self.one_writer = True
        self.start()

    def start(self) -> None:
        """Start a writer on the volume; it may refuse, or begin in recovery."""
        self.lives += 1
        reports = [f.report() for f in self.followers if f.bus_connected and self.streams.connected]
        try:
            self.writer = WriterNode.open(
                self.loop,
                self.volume,
                self.truth,
                self.streams,
                life=self.lives,
                reports=reports,
                now_us=lambda: self.clock_us,
            )
        except SIEError:
            self.fired["start refused"] += 1
            self.writer = None
            return
        if self.writer.in_recovery:
            self.fired["recovery"] += 1

    def begin_heir(self) -> None:
        """An operator begins a log that supersedes the volume's, whose writer has ended."""
        self.lives += 1
        ids = random.Random(f"heir/{self.lives}")
        last = position_of(self.volume.entries[-1])
        entry = self.volume.begin_heir(
            ids.randbytes(16).hex(), ids.randbytes(8).hex(), self.clock_us
        )
        self.truth.committed([entry])
        self.truth.given_up.append(last)

    def new_key(self, what: str) -> str:
        """A key that no write had."""
        self.keys += 1
        return f"k{self.keys}/{what}"

    def send(self, write: Write, key: str) -> bool:
        """Send a write; whether it was acknowledged."""
        assert self.writer is not None
        self.sent[key] = write
        try:
            outcome = self.writer.write(type(self).policy(write))
        except SIEError:
            self.fired["refused"] += 1
            return False
        self._acknowledge(outcome.entry, key, write)
        return True

    def write(self, seed: int) -> None:
        """Send a write that the seed stands for, with a key of its own."""
        key = self.new_key(f"{seed}")
        self.send(keyed(drawn_commands(random.Random(seed)), key), key)

    def _acknowledge(self, entry: Entry, key: str, write: Write) -> None:
        self.fired["acknowledged"] += 1
        acknowledged = Acknowledged(entry.log_id, entry.epoch, entry.hash, key)
        self.truth.answered(acknowledged, write.commands)

    def publish(self) -> None:
        """Have the writer publish; what is new on the stream is on its way to all."""
        assert self.writer is not None
        before = dict(self.stream())
        self.writer.publish()
        dropped = [data for epoch, data in before.items() if self.stream().get(epoch) != data]
        if dropped:
            self.truth.dropped(dropped, self.volume.entries)
        for epoch, data in self.stream().items():
            if epoch not in before:
                self._broadcast(data)

    def lose_medium(self) -> None:
        """The disk is about to lose entries: from now on two histories are possible."""
        if self.writer is not None:
            self.writer.kill()
            self.writer = None
        self.one_writer = False

    def stream(self) -> dict[int, bytes]:
        """The messages on the stream of the volume's log, by sequence."""
        if not self.volume.entries:
            return {}
        stream = self.streams.by_log.get(self.volume.entries[-1].log_id)
        return stream.messages if stream is not None else {}

    def _broadcast(self, data: bytes) -> None:
        for follower in self.followers:
            if follower.bus_connected and self.streams.connected:
                self.wire.append(Message(follower, data, _entry_of))

    def deliver_all(self) -> None:
        """Let everything arrive that is under way."""
        while self.wire:
            self.arrive(self.wire.pop(0))

    def announce(self, followers: list[FollowerNode]) -> None:
        """Tell these the writer's head."""
        assert self.writer is not None
        for follower in followers:
            if follower.http_connected:
                follower.receive(HeadAnnounced(self.writer.plane.head))

    def arrive(self, message: Message) -> None:
        """Let a message arrive; what is no entry is refused."""
        try:
            message.to.receive(message.read(message.data))
        except EntryCorrupt:
            self.fired["corrupt refused"] += 1

    def answer(self, follower: FollowerNode, asked: Fetch | FetchSnapshot) -> Event:
        """The event that a fetch brings now."""
        if self.writer is None or not follower.http_connected:
            return fetch_failed(asked)
        plane = self.writer.plane
        if isinstance(asked, FetchSnapshot):
            try:
                return SnapshotArrived(asked.id, snapshots.decode(self.writer.snapshot()))
            except SnapshotCorrupt as error:
                raise Broken(f"the writer gave a damaged snapshot: {error}") from error
        known = {begin.log_id for begin in plane.sequencer.lineage}
        if asked.log_id not in known or asked.after < plane.low_water - 1:
            self.fired["gone"] += 1
            return Gone(asked.id)
        head = plane.sequencer.position.epoch
        return RangeArrived(asked.id, tuple(self.writer.page(asked.after, min(asked.until, head))))

    def heal(self) -> None:
        """End every trouble, start what does not run, and let everybody hear of everything."""
        self.streams.connect(True)
        self.volume.full = False
        for stream in self.streams.by_log.values():
            stream.lose_acknowledgements(0)
        for follower in self.followers:
            follower.bus_connected = follower.http_connected = True
        self._start_again()
        if self.writer is None:
            return
        self.writer.publish()
        self.wire.clear()
        for _ in range(2):
            self.now += 60.0
            for follower in self.followers:
                follower.receive(Ticked(self.now))
            self.announce(self.followers)
            self._drain()
            for follower in self.followers:
                self.writer.hear(follower.report())

    def _start_again(self) -> None:
        if self.writer is not None and not self.writer.may_go_on:
            self.writer.kill()
            self.writer = None
        if self.writer is None:
            self.start()

    def _drain(self) -> None:
        for follower in self.followers:
            for _ in range(_FETCHES_MAX):
                if not follower.asked:
                    break
                follower.receive(self.answer(follower, follower.asked.pop(0)))

    def lose_tail(self, count: int) -> None:
        """The disk loses its last entries, all but the first three at most."""
        lost = min(count, len(self.volume.entries) - 3)
        self.lose_medium()
        del self.volume.entries[-lost:]
        last = self.volume.entries[-1].epoch
        self.volume.keys = {n: row for n, row in self.volume.keys.items() if row.epoch <= last}


def _entry_of(data: bytes) -> Event:
    entry = parse_envelope(data)
    assert isinstance(entry, Entry), "no entry of this load is large"
    return EntryArrived(entry)


def fetch_failed(asked: Fetch | FetchSnapshot) -> Event:
    return FetchFailed(asked.id, "the network")
