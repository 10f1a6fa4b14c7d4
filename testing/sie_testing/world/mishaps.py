"""Rules of the cluster machine for what happens to a log beside writes: a clock, a memory, an heir.

*shell.* Rules over the wired cluster. Checked all the while: the stamps of a log rise with its
epochs whatever the clock does. What is served is the log's although a memory went bad.
"""

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis.stateful import invariant, precondition, rule

from sie_core.registry import Entity, Registry
from sie_testing.world.follower import FollowerNode
from sie_testing.world.group_writes import GroupWrites

__all__ = ["Mishaps"]


class Mishaps(GroupWrites):
    """See the module."""

    @rule(seconds=st.sampled_from([-3600, -1, 0, 1, 3600]))
    def writers_clock_is_set(self, seconds: int) -> None:
        self.fired["writers_clock_is_set"] += 1
        self.clock_us += seconds * 1_000_000

    @precondition(lambda self: any(len(each.replica.registry) for each in self.followers))
    @rule(data=st.data(), shape=st.sampled_from(["gone", "older", "another"]))
    def memory_goes_bad(self, data: st.DataObject, shape: str) -> None:
        self.fired["memory_goes_bad"] += 1
        full = [each for each in self.followers if len(each.replica.registry)]
        follower = data.draw(st.sampled_from(full))
        entities = sorted(follower.replica.registry, key=lambda each: (each.kind, each.key))
        place = data.draw(st.integers(0, len(entities) - 1))
        one = entities.pop(place)
        if shape == "older":
            entities.append(Entity(one.kind, one.key, one.modified_epoch + 1, one.document))
        elif shape == "another":
            entities.append(Entity(one.kind, one.key, one.modified_epoch, one.document + b" "))
        follower.spoil(Registry.of(entities))

    @precondition(lambda self: self.writer is not None)
    @rule()
    def operator_begins_a_new_log(self) -> None:
        """On a file that lacks nothing: whatever was acknowledged stays."""
        assert self.writer is not None
        if self.writer.in_recovery or not self.writer.may_go_on:
            return
        self.fired["operator_begins_a_new_log"] += 1
        self.writer.kill()
        self.writer = None
        self.begin_heir()
        self.start()

    def is_of_another_history(self, follower: FollowerNode) -> bool:
        """True if a lost disk left this one with a history, or a log, that the writer lacks."""
        here = follower.position
        if self.one_writer or here is None:
            return False
        known = {entry.log_id for entry in self.volume.entries}
        return follower.replica.stopped == "forked" or here.log_id not in known

    @invariant()
    def stamps_rise_with_epochs(self) -> None:
        for before, entry in pairwise(self.volume.entries):
            assert before.ts < entry.ts, f"epoch {entry.epoch} is of {entry.ts}, after {before.ts}"
