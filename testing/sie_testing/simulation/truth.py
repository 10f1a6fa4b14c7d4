"""The truth of a simulated world: every entry that was ever committed, and what it amounts to.

*pure.* The oracle. It sees each commit of each disk, and folds it naively with plain dicts, sharing
no code with the fold that it judges. It remembers what was promised to clients. `Broken` names the
property that a run has violated.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sie_config.writer.rules import Command, Put
from sie_core.chain import Position
from sie_core.registry import Registry
from sie_schemas.entry import Entry, EntryCorrupt, parse_envelope
from sie_testing.stage.broken import Broken

__all__ = ["Acknowledged", "Loss", "Truth", "first_difference"]

State = dict[tuple[str, str], tuple[int, bytes]]
"""(kind, key) -> (modified epoch, document)."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that a client was told is stored."""

    log_id: str
    epoch: int
    hash: str
    key: str


@dataclass(frozen=True, slots=True)
class Loss:
    """An acknowledged write that the log does not hold, and what excuses that; empty for none."""

    write: Acknowledged
    excuse: str


@dataclass(slots=True)
class Truth:
    """All that the oracle knows. `states` is keyed by the hash of the entry that led there."""

    states: dict[str, State] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    epochs: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """(log id, epoch) -> hashes of the entries that a disk ever held there."""
    acknowledged: list[Acknowledged] = field(default_factory=list)
    seen: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    """(log id, epoch) -> hash that a replica applied there, and that replica."""
    vanished: dict[str, None] = field(default_factory=dict)
    """Hashes of entries that a disk lost and nobody else had seen: there is no witness."""
    overwritten: list[str] = field(default_factory=list)
    """Acknowledged entries that only a stream had, and that a writer deleted with it."""
    forks: list[str] = field(default_factory=list)
    """Two replicas of one log with two entries of one epoch: judged against the faults."""
    given_up: list[Position] = field(default_factory=list)
    """Ends of logs that were superseded: what came after them is named as lost."""
    checks: dict[str, int] = field(default_factory=dict)

    def committed(self, entries: Sequence[Entry]) -> None:
        """A disk took these entries, whose times rise."""
        for entry in entries:
            if entry.hash not in self.states:
                self._check_time(entry)
                self.states[entry.hash] = _after(self.states.get(entry.prev_hash, {}), entry)
                self.entries[entry.hash] = entry
                self.epochs.setdefault((entry.log_id, entry.epoch), []).append(entry.hash)

    def _check_time(self, entry: Entry) -> None:
        before = self.entries.get(entry.prev_hash)
        if before is not None:
            self._count("time never goes back in the log")
            if entry.ts <= before.ts:
                raise Broken(f"epoch {entry.epoch} is of {entry.ts}, after one of {before.ts}")

    def answered(self, acknowledged: Acknowledged, commands: Sequence[Command]) -> None:
        """A client was answered: what it had commanded is so, at the entry that it was told."""
        self.acknowledged.append(acknowledged)
        self._count("what is acknowledged took effect")
        state = self.states[acknowledged.hash]
        for slot, command in {(each.kind, each.key): each for each in commands}.items():
            wanted = command.body if isinstance(command, Put) else None
            held = state.get(slot)
            if (held[1] if held is not None else None) != wanted:
                raise Broken(
                    f"{acknowledged.key} is acknowledged at epoch {acknowledged.epoch}, where "
                    f"{slot[0]} {slot[1]} is {_value(held)}; wanted was "
                    f"{'its removal' if wanted is None else wanted.decode()}"
                )

    def served(
        self, replica: str, was: Position | None, here: Position, registry: Registry
    ) -> None:
        """A replica serves another registry (3, 4, 8)."""
        self._count("a replica serves the fold of a prefix")
        state = self.states.get(here.hash)
        if state is None:
            raise Broken(f"{replica} serves {here}, which no disk ever held")
        held = {(e.kind, e.key): (e.modified_epoch, e.document) for e in registry}
        if held != state:
            raise Broken(f"{replica} at {here} {first_difference(held, state)}")
        if was is not None and was.log_id == here.log_id and was.epoch >= here.epoch:
            raise Broken(f"{replica} went from {was} back to {here}")
        known, other = self.seen.setdefault((here.log_id, here.epoch), (here.hash, replica))
        if known != here.hash:
            self.forks.append(f"{replica} and {other} have two entries at {here}")

    def lost(self, log: Sequence[Entry]) -> list[Loss]:
        """The acknowledged writes that a log does not hold, and what excuses each (1)."""
        held = {entry.epoch: entry.hash for entry in log}
        missing = [each for each in self.acknowledged if held.get(each.epoch) != each.hash]
        return [Loss(each, self._excuse(each)) for each in missing]

    def held_at(self, log_id: str, epoch: int) -> list[Entry]:
        """The entries that disks ever held there: more than one, where histories part."""
        return [self.entries[each] for each in self.epochs.get((log_id, epoch), ())]

    def dropped(self, messages: Iterable[bytes], logs: Iterable[Entry]) -> None:
        """A writer made a stream anew: what was on it must be in some writer's log (1, 8)."""
        self._count("a stream that was made anew held no other history")
        known = {each.hash for each in self.acknowledged} - {entry.hash for entry in logs}
        for data in messages:
            with contextlib.suppress(EntryCorrupt):
                found = parse_envelope(data)
                if found.hash in known:
                    self.overwritten.append(f"acknowledged epoch {found.epoch}")

    def check_keys(self, log: Sequence[Entry]) -> None:
        """At most one entry for one idempotency key, and one answer that the log bears out (7)."""
        held = {entry.epoch: entry.hash for entry in log}
        answers: dict[str, Acknowledged] = {}
        for one in self.acknowledged:
            # An answer that changed nothing has no entry of its own, and is lost with its disk.
            if held.get(one.epoch) != one.hash or not (one.key in answers or self._is_own(one)):
                continue
            first = answers.setdefault(one.key, one)
            if first != one:
                raise Broken(f"key {one.key}: answered with {first.epoch} and {one.epoch}")
        self._count("one entry and one answer for one key")
        seen: dict[tuple[str, str], int] = {}
        for entry in log:
            if entry.idempotency is None:
                continue
            slot = (entry.actor, entry.idempotency.key)
            if slot in seen:
                raise Broken(f"key {slot[1]} stands for epochs {seen[slot]} and {entry.epoch}")
            seen[slot] = entry.epoch

    def path(self, last: str) -> list[str]:
        """The hashes of the entries that lead up to this one."""
        found: list[str] = []
        while last in self.entries:
            found.append(last)
            last = self.entries[last].prev_hash
        return found

    def _excuse(self, one: Acknowledged) -> str:
        if one.hash in self.vanished:
            return "nobody but its disk had seen it"
        for end in self.given_up:
            if end.log_id == one.log_id and one.hash not in self.path(end.hash):
                return f"what came after {end} was given up"
        return ""

    def _is_own(self, one: Acknowledged) -> bool:
        idempotency = self.entries[one.hash].idempotency
        return idempotency is not None and idempotency.key == one.key

    def _count(self, check: str) -> None:
        self.checks[check] = self.checks.get(check, 0) + 1


def first_difference(held: State, wanted: State) -> str:
    """The first entity in which a served state is not the log's, with both values."""
    slot = min(slot for slot in held.keys() | wanted.keys() if held.get(slot) != wanted.get(slot))
    kind, key = slot
    served, true = _value(held.get(slot)), _value(wanted.get(slot))
    return f"serves {kind} {key} as {served}; the log has it {true}"


def _value(found: tuple[int, bytes] | None) -> str:
    return "absent" if found is None else f"of epoch {found[0]}, {found[1].decode()}"


def _after(state: State, entry: Entry) -> State:
    after = dict(state)
    for change in entry.changes:
        slot = (change.entity_kind, change.key)
        if change.entity_kind == "key":
            # Who signs is no part of the state.
            continue
        if change.verb == "put":
            after[slot] = (entry.epoch, bytes(change.document))  # type: ignore[arg-type]
        elif change.verb == "delete":
            del after[slot]
    return after
