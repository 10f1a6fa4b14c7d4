"""A draft: the entries of one group of writes, before they are committed.

*pure.* Each write is judged on the state that the writes before it in the group would leave. The
draft is the tentative chain: it becomes the log when its entries commit, and is dropped whole when
they do not. Time and identity are arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from msgspec import Raw, Struct

from sie_config.documents.moments import format_ts, parse_ts
from sie_config.log.log_rows import KeyRow
from sie_config.writer.dark import Dark
from sie_config.writer.gates import OPEN, Gates, Step
from sie_config.writer.rules import Command, Delete, Index, Put, admit, check, judge
from sie_core.apply import ChangeRefused, preview
from sie_core.registry import Registry
from sie_schemas.entry import GENESIS_HASH, Change, Entry, Idempotency, build_entry, delete
from sie_schemas.errors import FixRequest, OurFault, SIEError

__all__ = [
    "BasisMoved",
    "Draft",
    "Outcome",
    "Seen",
    "Tenure",
    "Write",
]

_PUT_ORDER: Final = {"bundle": 0, "pool": 1, "model": 2, "adapter": 3}
"""The order of puts: a document comes before those that refer to it."""


class BasisMoved(FixRequest):
    """The state that a write was worked out from has changed: work it out again."""

    code = "PRECONDITION_FAILED"


@dataclass(frozen=True, slots=True)
class Tenure:
    """The writer: the log, the term, and the random id of this process's tenure."""

    log_id: str
    term: int
    writer: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An entity that a write was worked out from; `modified_epoch` 0 is absent."""

    kind: str
    key: str
    modified_epoch: int


class Write(Struct, frozen=True):
    """One request to change the log: all of its commands, or none.

    Commands take effect in order, each on what the ones before it left. If `simultaneous`, no two
    are of one entity and only the state before and after all of them is judged.
    """

    actor: str
    reason: str
    request_id: str
    commands: tuple[Command, ...]
    idempotency: Idempotency | None = None
    if_epoch: int | None = None
    """The client's belief of the head."""
    basis: tuple[Seen, ...] = ()
    basis_epoch: int | None = None
    """The head that the commands were worked out from, where all of it matters."""
    forced: str = ""
    """The reason for which gates are to let this pass."""
    simultaneous: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a write. `entry` is the head it was judged on when it changed nothing.

    A trial has the registries `before` and `after`; its entry was never in the log.
    """

    entry: Entry
    changed: bool
    created: bool
    modified_epoch: int
    before: Registry | None = None
    after: Registry | None = None
    dark: tuple[Dark, ...] = ()
    """The models and adapters that a trial with a reason would take out."""


class Draft:
    """The tentative chain on top of a committed state. Owned by one group of the sequencer."""

    def __init__(
        self,
        registry: Registry,
        index: Index,
        last: Entry | None,
        tenure: Tenure,
        now_us: int,
        gates: Gates = OPEN,
    ) -> None:
        self._gates = gates
        self._dark: tuple[Dark, ...] = ()
        self.registry = registry
        self.last = last
        self.entries: list[Entry] = []
        self.keys: list[KeyRow] = []
        self._index = index
        self._tenure = tenure
        self._now_us = now_us

    def write(self, write: Write) -> Outcome:
        """Admit a write and add its entry. Raises `SIEError`; the draft is then as before."""
        if self.last is None:
            raise OurFault("a log takes no write before it has begun")
        self._check_beliefs(write, self.last)
        changes: list[Change] = []
        touched = [(c.kind, c.key) for c in write.commands]
        try:
            # Two models that swap an alias cannot do it one after the other; reverts and `sie
            # apply` take this way.
            admit_all = self._admit_at_once if write.simultaneous else self._admit_in_order
            view, created = admit_all(write, self.last.epoch + 1, changes)
            # Once, on what the whole write would leave. Asked of each request before the queue,
            # writes that shared a commit could pass the bound of entities together.
            self._check_gates(write, view, changes)
        except SIEError:
            self._index.restore(touched, self.registry)
            raise
        if changes and not _differ(self.registry, view, touched):
            # What was changed was changed back: nothing happened, and nothing is recorded.
            changes, created = [], False
        if changes:
            self._add(write, changes, view)
        return self._outcome(write, changed=bool(changes), created=created)

    def trial(self, write: Write) -> Outcome:
        """The outcome of `write` now. Raises as `write`; leaves the draft as it was."""
        trial = Draft(
            self.registry, self._index, self.last, self._tenure, self._now_us, self._gates
        )
        outcome = trial.write(msgspec.structs.replace(write, idempotency=None))
        self._index.restore([(c.kind, c.key) for c in write.commands], self.registry)
        return replace(outcome, before=self.registry, after=trial.registry, dark=trial._dark)

    def begin(self, changes: Sequence[Change], *, actor: str, reason: str) -> Entry:
        """Add an entry that no rule judges: the beginning of a log or a term, or its seed."""
        epoch = self.last.epoch + 1 if self.last is not None else 1
        write = Write(actor, reason, request_id="", commands=())
        self._add(write, changes, self._folded(self.registry, changes, epoch))
        return self.entries[-1]

    def _check_beliefs(self, write: Write, last: Entry) -> None:
        if write.if_epoch is not None and write.if_epoch != last.epoch:
            raise FixRequest(
                f"the head is epoch {last.epoch}, not {write.if_epoch} as If-Match-Epoch expects",
                code="PRECONDITION_FAILED",
                field="If-Match-Epoch",
                details={
                    "log_id": last.log_id,
                    "epoch": last.epoch,
                    "hash": last.hash,
                    "state_digest": last.state_digest,
                },
            )
        if write.basis_epoch is not None and write.basis_epoch != last.epoch:
            raise BasisMoved(f"the head moved from {write.basis_epoch} to {last.epoch}")
        for seen in write.basis:
            entity = self.registry.get(seen.kind, seen.key)
            if (entity.modified_epoch if entity is not None else 0) != seen.modified_epoch:
                raise BasisMoved(f"{seen.kind} {seen.key!r} was changed meanwhile")

    def _check_gates(self, write: Write, view: Registry, changes: Sequence[Change]) -> None:
        touched = [(change.entity_kind, change.key) for change in changes]
        step = Step(
            self._tenure.log_id, {change.kind for change in changes}, touched, self.registry, view
        )
        self._dark = self._gates.check(
            step,
            lambda: self._index.names(touched),
            forced=write.forced,
            is_trial=write.dry_run,
        )

    def _admit_in_order(
        self, write: Write, epoch: int, changes: list[Change]
    ) -> tuple[Registry, bool]:
        # Commands of one write see what the ones before them did.
        view, created = self.registry, False
        for command in write.commands:
            admitted = admit(
                view, self._index, self._tenure.log_id, command, forced=bool(write.forced)
            )
            created = created or admitted.created
            if not admitted.changed:
                continue
            changes.append(_change_of(command))
            document = command.document if isinstance(command, Put) else None
            self._index.update(command.kind, command.key, document)
            view = self._folded(view, changes[-1:], epoch)
        return view, created

    def _admit_at_once(
        self, write: Write, epoch: int, changes: list[Change]
    ) -> tuple[Registry, bool]:
        # All that is touched leaves before any of it returns, so that names may change hands.
        _refuse_twice(write.commands)
        judged = [(c, judge(self.registry, self._tenure.log_id, c)) for c in write.commands]
        real = [command for command, admitted in judged if admitted.changed]
        real.sort(key=lambda command: _PUT_ORDER[command.kind])
        for command in real:
            self._index.update(command.kind, command.key, None)
        view = self.registry.with_changes({(c.kind, c.key): None for c in real})
        for command in real:
            if isinstance(command, Put):
                check(view, self._index, command, forced=bool(write.forced))
                self._index.update(command.kind, command.key, command.document)
                view = self._folded(view, [_change_of(command)], epoch)
        for command in real:
            if isinstance(command, Delete):
                check(view, self._index, command, forced=bool(write.forced))
        changes.extend(_change_of(command) for command in real)
        created = any(admitted.created for _, admitted in judged)
        return self._folded(self.registry, changes, epoch), created

    def _folded(self, view: Registry, changes: Sequence[Change], epoch: int) -> Registry:
        try:
            return preview(view, changes, epoch)
        except ChangeRefused as error:
            raise OurFault(f"an admitted change cannot be folded: {error}") from error

    def _add(self, write: Write, changes: Sequence[Change], view: Registry) -> None:
        last, tenure = self.last, self._tenure
        # A clock that was set back must not make time run backwards in the log: `?at=TIME` searches
        # it by halves.
        stamp = self._now_us if last is None else max(self._now_us, parse_ts(last.ts) + 1)
        entry = build_entry(
            log_id=tenure.log_id,
            epoch=last.epoch + 1 if last is not None else 1,
            term=tenure.term,
            writer=tenure.writer,
            ts=format_ts(stamp),
            actor=write.actor,
            reason=write.reason,
            request_id=write.request_id,
            changes=changes,
            prev_hash=last.hash if last is not None else GENESIS_HASH,
            state_digest=view.digest,
            idempotency=write.idempotency,
            forced=write.forced,
        )
        self.entries.append(entry)
        self.last, self.registry = entry, view

    def _outcome(self, write: Write, *, changed: bool, created: bool) -> Outcome:
        assert self.last is not None
        modified_epoch = self.last.epoch if changed else self._modified_epoch(write)
        outcome = Outcome(self.last, changed, created, modified_epoch)
        if write.idempotency is not None:
            self.keys.append(
                KeyRow(
                    actor=write.actor,
                    key=write.idempotency.key,
                    fingerprint=write.idempotency.fingerprint,
                    epoch=outcome.entry.epoch,
                    changed=changed,
                    created=created,
                    modified_epoch=modified_epoch,
                )
            )
        return outcome

    def _modified_epoch(self, write: Write) -> int:
        entities = (self.registry.get(c.kind, c.key) for c in write.commands)
        return max((entity.modified_epoch for entity in entities if entity is not None), default=0)


def _refuse_twice(commands: Sequence[Command]) -> None:
    seen: set[tuple[str, str]] = set()
    for command in commands:
        if (command.kind, command.key) in seen:
            raise FixRequest(
                f"{command.kind} {command.key!r} is changed twice: simultaneous operations have "
                "no order",
                code="VALIDATION_ERROR",
                field="operations",
            )
        seen.add((command.kind, command.key))


def _differ(before: Registry, after: Registry, touched: Sequence[tuple[str, str]]) -> bool:
    for kind, key in touched:
        old, new = before.get(kind, key), after.get(kind, key)
        if (old and old.document) != (new and new.document):
            return True
    return False


def _change_of(command: Command) -> Change:
    if isinstance(command, Delete):
        return delete(command.kind, command.key)
    return Change(kind=f"{command.kind}.put", key=command.key, document=Raw(command.body))
