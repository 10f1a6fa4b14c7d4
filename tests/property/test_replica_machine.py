"""A replica in a world that loses, repeats, delays and reorders whatever it says or hears, and in
which somebody forges what he can."""

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sie_core.apply import ChangeRefused
from sie_core.chain import position_of
from sie_core.registry import Registry
from sie_core.replica.events import (
    Advance,
    Command,
    EntryArrived,
    Event,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    Gone,
    HeadAnnounced,
    RangeArrived,
    ReplicaLimits,
    SnapshotArrived,
    Ticked,
)
from sie_core.replica.replica import Replica
from sie_runtime.signing import SigningKey
from sie_testing import strategies
from sie_testing.signing import PINNED, STRANGER
from sie_testing.written_log import WrittenLog

LIMITS = ReplicaLimits(
    buffer_entries_max=4, delta_entries_max=5, digest_every=2, retry_s=1.0, retry_max_s=4.0
)


class ReplicaInAnUnreliableWorld(RuleBasedStateMachine):
    """Rules are named for what the world does."""

    def __init__(self) -> None:
        super().__init__()
        self.log = WrittenLog()
        self.low_water = 1
        self.wire: list[Event] = []
        self.asked: list[Fetch | FetchSnapshot] = []
        self.now = 0.0
        self.keys = 0
        self.replica = Replica(PINNED, LIMITS)
        self.served = Registry.EMPTY
        self.kept: tuple[int, int] = (0, 0)
        """The contents of the replica's disk: a snapshot's epoch, and the last entry's after it."""

    # -- the writer --

    @rule(changes=strategies.change_lists())
    def writer_appends(self, changes):
        try:
            entry = self.log.append(changes)
        except ChangeRefused:
            return
        self.wire.append(EntryArrived(entry))

    @rule()
    def writer_begins_a_term(self):
        self.wire.append(EntryArrived(self.log.begin_term()))

    @rule()
    def writer_announces_its_head(self):
        self.wire.append(HeadAnnounced(self.head()))

    @rule(data=st.data())
    def writer_changes_its_key(self, data):
        self.keys += 1
        next_key = SigningKey.of_seed(self.keys.to_bytes(32, "big"))
        self.wire.append(EntryArrived(self.log.change_key(next_key)))

    @rule(data=st.data())
    def writer_moves_the_low_water(self, data):
        self.low_water = data.draw(st.integers(self.low_water, self.log.epoch))

    # -- the wire --

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def wire_delivers_any(self, data):
        self.deliver(self.wire.pop(data.draw(st.integers(0, len(self.wire) - 1))))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def wire_repeats_any(self, data):
        self.deliver(data.draw(st.sampled_from(self.wire)))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def wire_loses_any(self, data):
        self.wire.pop(data.draw(st.integers(0, len(self.wire) - 1)))

    @rule(data=st.data())
    def wire_brings_an_old_entry_again(self, data):
        self.deliver(EntryArrived(data.draw(st.sampled_from(self.log.entries))))

    # -- a stranger, who can hash and link as well as the writer, and has not its key --

    def forged(self, data) -> WrittenLog:
        """The log as the stranger goes on with it from some epoch, signed in some wrong way."""
        forged = self.log.continued_by(STRANGER)
        kept = data.draw(st.integers(1, forged.epoch))
        del forged.entries[kept:], forged.registries[kept + 1 :], forged.states[kept + 1 :]
        old = data.draw(st.sampled_from(self.log.entries)).signature
        signature = data.draw(st.sampled_from(["none", "another's", "old"]))
        if data.draw(st.booleans()):
            forged.change_key(STRANGER)
        for _ in range(data.draw(st.integers(1, 3))):
            last = forged.put("pool", "p", {"name": "theirs", "n": forged.epoch})
            if signature != "another's":
                kept_one = old if signature == "old" else None
                forged.entries[-1] = msgspec.structs.replace(last, signature=kept_one)
        return forged

    @rule(data=st.data())
    def stranger_sends_entries(self, data):
        forged = self.forged(data)
        for entry in forged.entries:
            if entry not in self.log.entries:
                self.deliver(EntryArrived(entry))

    @rule(data=st.data())
    def stranger_announces_a_head(self, data):
        self.deliver(HeadAnnounced(self.forged(data).head))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def fetch_is_answered_by_a_stranger(self, data):
        asked, forged = self.asked.pop(0), self.forged(data)
        if isinstance(asked, FetchSnapshot):
            self.deliver(SnapshotArrived(asked.id, forged.snapshot(forged.epoch)))
        else:
            self.deliver(RangeArrived(asked.id, tuple(forged.entries[asked.after :])))

    # -- fetches --

    @precondition(lambda self: self.asked)
    @rule()
    def fetch_is_answered(self):
        self.deliver(self.answer(self.asked.pop(0)))

    @precondition(lambda self: self.asked)
    @rule()
    def fetch_is_answered_with_half_of_it(self):
        answer = self.answer(self.asked.pop(0))
        if isinstance(answer, RangeArrived):
            half = answer.entries[: len(answer.entries) // 2]
            answer = RangeArrived(answer.fetch_id, half)
        self.deliver(answer)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def fetch_is_answered_from_an_old_cache(self, data):
        asked = self.asked.pop(0)
        if isinstance(asked, FetchSnapshot):
            epoch = data.draw(st.integers(1, self.log.epoch))
            self.deliver(SnapshotArrived(asked.id, self.log.snapshot(epoch)))
        else:
            self.deliver(RangeArrived(asked.id, tuple(self.log.entries[: asked.after])))

    @precondition(lambda self: self.asked)
    @rule()
    def fetch_fails(self):
        self.deliver(FetchFailed(self.asked.pop(0).id, "the network"))

    @rule(data=st.data())
    def answer_to_no_question_arrives(self, data):
        epoch = data.draw(st.integers(1, self.log.epoch))
        self.deliver(SnapshotArrived(10_000, self.log.snapshot(epoch)))
        self.deliver(Gone(10_000))

    # -- the replica's own fate --

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.deliver(Ticked(self.now))

    @rule()
    def replica_restarts_from_its_files(self):
        before = self.replica.position
        self.replica, self.asked = Replica(PINNED, LIMITS), []
        (snapshot_epoch, last), self.kept = self.kept, (0, 0)
        if snapshot_epoch:
            self.deliver(SnapshotArrived(0, self.log.snapshot(snapshot_epoch)))
        entries = tuple(self.log.entries[snapshot_epoch:last])
        if entries:
            self.deliver(RangeArrived(0, entries))

        assert self.replica.position == before

    @rule()
    def replica_restarts_without_files(self):
        self.replica, self.asked, self.kept = Replica(PINNED, LIMITS), [], (0, 0)
        self.served = Registry.EMPTY

    # -- what must hold --

    @invariant()
    def it_serves_the_fold_of_a_prefix(self):
        here = self.replica.position
        if here is None:
            assert len(self.served) == 0
            return
        assert here == self.log.position_at(here.epoch)
        state = {(e.kind, e.key): (e.modified_epoch, e.document) for e in self.served}
        assert state == self.log.state_at(here.epoch)
        assert self.served.digest == here.digest

    @invariant()
    def nothing_true_ever_stops_it(self):
        assert self.replica.stopped is None, self.replica.reason

    @invariant()
    def its_buffer_is_bounded(self):
        assert len(self.replica._early) <= LIMITS.buffer_entries_max + 1

    @rule()
    def world_heals(self):
        """One announcement and answered fetches are enough to be current."""
        self.wire.clear()
        for _ in range(3 + self.log.epoch // LIMITS.delta_entries_max):
            self.now += 60.0
            self.deliver(Ticked(self.now))
            self.deliver(HeadAnnounced(self.head()))
            while self.asked:
                self.deliver(self.answer(self.asked.pop(0)))

        assert self.replica.position == position_of(self.log.entries[-1])
        assert self.replica.state == "fresh"

    def teardown(self):
        self.world_heals()
        self.it_serves_the_fold_of_a_prefix()

    # -- how it is wired --

    def head(self):
        return msgspec.structs.replace(self.log.head, low_water=self.low_water)

    def answer(self, asked: Fetch | FetchSnapshot) -> Event:
        if isinstance(asked, FetchSnapshot):
            return SnapshotArrived(asked.id, self.log.snapshot(self.log.epoch))
        if asked.after < self.low_water - 1:
            return Gone(asked.id)
        return RangeArrived(asked.id, tuple(self.log.entries[asked.after : asked.until]))

    def deliver(self, event: Event) -> None:
        before = self.replica.position
        commands: list[Command] = self.replica.receive(event)
        for command in commands:
            match command:
                case Advance(registry, position, entries, snapshot):
                    assert before is None or position.epoch > before.epoch
                    before = position
                    self.served = registry
                    kept_snapshot, kept_last = self.kept
                    if snapshot is not None:
                        self.kept = (position.epoch, position.epoch)
                    else:
                        assert [e.epoch for e in entries] == list(
                            range(kept_last + 1, position.epoch + 1)
                        )
                        self.kept = (kept_snapshot, position.epoch)
                case Fetch() | FetchSnapshot():
                    assert not self.asked, "two fetches in flight"
                    self.asked.append(command)


ReplicaInAnUnreliableWorld.TestCase.settings = settings(deadline=None)
TestReplicaInAnUnreliableWorld = ReplicaInAnUnreliableWorld.TestCase
