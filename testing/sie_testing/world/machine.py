"""The machine: a cluster without I/O in the hands of an adversary.

*shell.* A Hypothesis `RuleBasedStateMachine` whose rules are named for what the world does. What is
under way waits in a list; the adversary picks a message and a verb. The properties are checked
after every step, and convergence, which only time proves, is made a step of its own: heal, drain,
poll twice, compare. `fired` counts rules and verbs, so that a rule that never fires can fail a run.
"""

from collections import Counter
from typing import Final

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from sie_core.replica.events import (
    FetchSnapshot,
    SnapshotArrived,
    Ticked,
)
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import parse_envelope
from sie_schemas.errors import SIEError
from sie_testing.stage.broken import Broken
from sie_testing.world.cluster import Message, Policy, fetch_failed
from sie_testing.world.mishaps import Mishaps
from sie_testing.world.writer import WriterNode

__all__ = ["ClusterMachine", "run_machine"]

VERBS: Final = ("deliver", "drop", "duplicate", "corrupt")
"""The adversary's verbs for a message; to leave it where it is delays and reorders it."""
ANSWERS: Final = ("whole", "lost", "twice", "stale")
"""The fates of the answer to a fetch."""
TROUBLES: Final = ("disk full", "broker away", "acknowledgement lost")
"""The troubles that befall the writer's surroundings, and pass."""
MOSTLY: Final = st.sampled_from([True, True, True, False])


class ClusterMachine(Mishaps):
    """See the module."""

    # -- the writer --

    @precondition(lambda self: self.writer is not None)
    @rule(
        seeds=st.lists(st.integers(0, 2**16), min_size=1, max_size=5),
        known=st.sampled_from(["everywhere", "everywhere", "published", "announced", ""]),
    )
    def client_writes(self, seeds: list[int], known: str) -> None:
        """One write after the other; perhaps they are known here and there at once."""
        self.fired["client_writes"] += 1
        for seed in seeds:
            self.write(seed)
        if known in ("published", "everywhere"):
            self.publish()
        if known == "everywhere":
            self.deliver_all()
        elif known == "announced":
            self.announce(self.followers)

    @precondition(lambda self: self.writer is not None and self.truth.acknowledged)
    @rule(data=st.data(), count=st.integers(1, 4))
    def client_sends_writes_again(self, data: st.DataObject, count: int) -> None:
        self.fired["client_sends_writes_again"] += 1
        for known in self.truth.acknowledged[-count:]:
            self.send(self.sent[known.key], known.key)
        known = data.draw(st.sampled_from(self.truth.acknowledged))
        self.send(self.sent[known.key], known.key)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def publisher_publishes(self) -> None:
        self.fired["publisher_publishes"] += 1
        self.publish()

    @precondition(lambda self: self.writer is not None)
    @rule()
    def writer_announces_its_head(self) -> None:
        self.fired["writer_announces_its_head"] += 1
        self.announce(self.followers)

    @precondition(lambda self: self.writer is not None)
    @rule(data=st.data())
    def compactor_moves_the_low_water(self, data: st.DataObject) -> None:
        self.fired["compactor_moves_the_low_water"] += 1
        assert self.writer is not None
        try:
            self.writer.compact(data.draw(st.integers(1, len(self.volume.entries))))
        except SIEError:
            self.fired["refused"] += 1

    @precondition(lambda self: self.writer is not None)
    @rule(when=st.sampled_from(["", "before", "after"]))
    def writer_dies(self, when: str) -> None:
        """Perhaps in the middle of a commit, whose outcome it never learns."""
        self.fired["writer_dies"] += 1
        assert self.writer is not None
        self.volume.fail_next = when
        if when:
            self.write(len(self.volume.entries))
        self.writer.kill()
        self.volume.fail_next = ""
        self.writer = None

    @precondition(lambda self: self.writer is None)
    @rule()
    def writer_starts(self) -> None:
        self.fired["writer_starts"] += 1
        self.start()

    @precondition(lambda self: self.writer is not None)
    @rule()
    def second_writer_starts_too_early(self) -> None:
        self.fired["second_writer_starts_too_early"] += 1
        try:
            WriterNode.open(
                self.loop, self.volume, self.truth, self.streams, life=10_000, reports=()
            )
        except SIEError:
            return
        raise Broken("two writers hold one file")

    # -- operators and disks --

    @rule()
    def operator_backs_up(self) -> None:
        self.fired["operator_backs_up"] += 1
        self.backups.append(self.volume.copy())

    @precondition(lambda self: self.backups)
    @rule(data=st.data(), head_too=st.booleans(), started=st.booleans())
    def operator_restores_a_backup(
        self, data: st.DataObject, head_too: bool, started: bool
    ) -> None:
        self.fired["operator_restores_a_backup"] += 1
        backup = data.draw(st.sampled_from(self.backups))
        self.lose_medium()
        self.volume.put_back(backup, head_too=head_too)
        if started:
            self.start()

    @precondition(lambda self: len(self.volume.entries) > 4)
    @rule(count=st.integers(1, 3), started=st.booleans())
    def disk_loses_its_tail(self, count: int, started: bool) -> None:
        self.fired["disk_loses_its_tail"] += 1
        self.lose_tail(count)
        if started:
            self.start()

    @precondition(lambda self: len(self.volume.entries) > 4 and self.streams.connected)
    @rule(count=st.integers(1, 3), seeds=st.lists(st.integers(0, 2**16), max_size=4))
    def disk_loses_its_tail_and_nobody_warns_the_writer(self, count: int, seeds: list[int]) -> None:
        """It starts alone, writes, and then the broker is back with what it lost."""
        self.fired["disk_loses_its_tail_and_nobody_warns_the_writer"] += 1
        self.lose_tail(count)
        self.volume.head = None
        self.streams.connect(False)
        self.start()
        for seed in seeds if self.writer is not None else ():
            self.write(seed)
        self.streams.connect(True)
        if self.writer is not None:
            self.publish()

    # -- the broker --

    @rule(what=st.sampled_from(TROUBLES))
    def trouble_comes_or_goes(self, what: str) -> None:
        self.fired[f"trouble: {what}"] += 1
        match what:
            case "disk full":
                self.volume.full = not self.volume.full
            case "broker away":
                self.streams.connect(not self.streams.connected)
            case "acknowledgement lost":
                for stream in self.streams.by_log.values():
                    stream.lose_acknowledgements(1)
            case _:
                raise AssertionError(what)

    @precondition(lambda self: self.stream())
    @rule(data=st.data())
    def stream_is_wiped_or_cut(self, data: st.DataObject) -> None:
        self.fired["stream_is_wiped_or_cut"] += 1
        for stream in self.streams.by_log.values():
            if not stream.messages:
                continue
            last = data.draw(st.integers(min(stream.messages) - 1, max(stream.messages)))
            if last < min(stream.messages):
                stream.wipe()
            else:
                stream.lose_tail(last)

    # -- the wire --

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), verbs=st.permutations(VERBS))
    def adversary_acts_on_any_messages(self, data: st.DataObject, verbs: list[str]) -> None:
        for verb in verbs:
            if self.wire:
                self._act(data, verb)

    def _act(self, data: st.DataObject, verb: str) -> None:
        self.fired[f"verb: {verb}"] += 1
        index = data.draw(st.integers(0, len(self.wire) - 1))
        message = self.wire[index] if verb == "duplicate" else self.wire.pop(index)
        if verb == "drop":
            return
        if verb == "corrupt":
            place = data.draw(st.integers(0, len(message.data) - 1))
            spoilt = bytearray(message.data)
            spoilt[place] ^= 1
            message = Message(message.to, bytes(spoilt), message.read)
        self.arrive(message)

    @precondition(lambda self: any(each.asked for each in self.followers))
    @rule(data=st.data(), answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4))
    def fetches_are_answered(self, data: st.DataObject, answers: list[str]) -> None:
        for answered in answers:
            if any(each.asked for each in self.followers):
                self._let_answer(data, answered)

    def _let_answer(self, data: st.DataObject, answered: str) -> None:
        self.fired[f"fetch answered: {answered}"] += 1
        asking = [each for each in self.followers if each.asked]
        follower = data.draw(st.sampled_from(asking))
        asked = follower.asked.pop(0)
        answer = self.answer(follower, asked) if answered != "lost" else fetch_failed(asked)
        if answered == "stale" and isinstance(asked, FetchSnapshot) and self.cache:
            # A cache in between knows only what was asked for before.
            answer = SnapshotArrived(asked.id, data.draw(st.sampled_from(self.cache)))
        if isinstance(answer, SnapshotArrived):
            self.cache.append(answer.snapshot)
        follower.receive(answer)
        if answered == "twice":
            follower.receive(answer)

    @rule(data=st.data(), bus=MOSTLY, http=MOSTLY)
    def follower_is_cut_off(self, data: st.DataObject, bus: bool, http: bool) -> None:
        self.fired["follower_is_cut_off"] += 1
        follower = data.draw(st.sampled_from(self.followers))
        follower.bus_connected, follower.http_connected = bus, http

    # -- followers --

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.fired["time_passes"] += 1
        self.now += seconds
        for follower in self.followers:
            follower.receive(Ticked(self.now))

    @rule(data=st.data(), with_files=st.booleans())
    def follower_restarts(self, data: st.DataObject, with_files: bool) -> None:
        self.fired["follower_restarts"] += 1
        follower = data.draw(st.sampled_from(self.followers))
        before = follower.position
        follower.restart(with_files=with_files)
        if with_files and follower.position != before:
            raise Broken(f"{follower.name} was at {before}, its files are at {follower.position}")

    @precondition(lambda self: self.writer is not None)
    @rule(data=st.data())
    def follower_reports(self, data: st.DataObject) -> None:
        self.fired["follower_reports"] += 1
        follower = data.draw(st.sampled_from(self.followers))
        if follower.bus_connected and self.streams.connected and self.writer is not None:
            self.writer.hear(follower.report())

    # -- what must hold --

    @invariant()
    def the_log_is_dense_and_linked(self) -> None:
        for before, entry in zip(self.volume.entries, self.volume.entries[1:], strict=False):
            assert (entry.epoch, entry.prev_hash) == (before.epoch + 1, before.hash)

    @invariant()
    def a_key_stands_for_one_entry(self) -> None:
        self.truth.check_keys(self.volume.entries)

    @invariant()
    def the_stream_holds_only_entries_in_their_places(self) -> None:
        for epoch, data in self.stream().items():
            entry = parse_envelope(data)
            assert entry.epoch == epoch
            assert entry.hash in self.truth.entries

    @invariant()
    def nothing_that_only_the_stream_has_is_deleted_with_it(self) -> None:
        assert not self.truth.overwritten, self.truth.overwritten[0]

    @invariant()
    def one_writer_makes_one_history(self) -> None:
        assert not (self.truth.forks and self.one_writer), self.truth.forks[0]

    @invariant()
    def what_is_served_never_loses_its_proof(self) -> None:
        for follower in self.followers:
            if follower.position is not None:
                assert follower.registry.digest == follower.position.digest

    @precondition(lambda self: self.writer is not None and len(self.volume.entries) > 3)
    @rule(data=st.data())
    def snapshotter_and_deltas_agree(self, data: st.DataObject) -> None:
        """A follower that took the snapshot and one that took the entries are equal (6)."""
        self.fired["snapshotter_and_deltas_agree"] += 1
        assert self.writer is not None
        first, again = self.writer.snapshot(), self.writer.snapshot()
        assert first == again
        entry = snapshots.decode(first).entry
        rows = {
            (row.kind, row.key): (row.modified_epoch, bytes(row.document))
            for row in snapshots.decode(first).entities
        }
        assert rows == self.truth.states[entry.hash]

    @rule()
    def world_heals(self) -> None:
        """Heal, drain, poll twice, compare."""
        self.fired["world_heals"] += 1
        self.heal()
        if self.writer is None or self.writer.in_recovery:
            assert not self.one_writer, "no medium was lost, and the writer does not write"
            self.fired["healed into recovery"] += 1
            return
        lost = self.truth.lost(self.volume.entries)
        assert self.one_writer is False or not lost, f"{lost[0].write.key} is lost"
        head = self.writer.plane.sequencer.position
        for follower in self.followers:
            if self.is_of_another_history(follower):
                self.fired["resynced"] += 1
                continue
            assert follower.position == head, (
                f"{follower.name} is at {follower.position} ({follower.replica.state}: "
                f"{follower.replica.reason}), the writer at {head}"
            )
        self.fired["converged"] += 1

    def teardown(self) -> None:
        with self._quiet:
            self.world_heals()
            if self.writer is not None:
                self.writer.kill()
            self.loop.close()


def run_machine(
    *, examples: int, steps: int, derandomize: bool, policy: Policy | None = None
) -> Counter[str]:
    """Run the machine; gives how often each rule fired. Raises what a property raises.

    `policy` stands before the writer: it gives each write on, as it is or changed, or refuses it.
    """

    class Machine(ClusterMachine):
        """The machine with the policy."""

    if policy is not None:
        Machine.policy = staticmethod(policy)
    ClusterMachine.fired.clear()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return Counter(ClusterMachine.fired)
