"""A draft: the entries of one group of writes, before they are committed.

*pure.* Each write is judged on the state that the writes before it in the group would leave. The
draft is the tentative chain: it becomes the log when its entries commit, and is dropped whole when
they do not. Time and identity are arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Raw

from sie_config.log_file import KeyRow
from sie_config.rules import Command, Delete, Index, Put, admit
from sie_core.apply import ChangeRefused, preview
from sie_core.registry import Registry
from sie_schemas.entry import GENESIS_HASH, Change, Entry, Idempotency, build_entry, delete
from sie_schemas.errors import OurFault, SIEError

__all__ = ["Draft", "Outcome", "Tenure", "Write", "format_ts", "parse_ts"]

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Tenure:
    """Who writes: the log, the term, and the random id of this process's tenure."""

    log_id: str
    term: int
    writer: str


@dataclass(frozen=True, slots=True)
class Write:
    """One request to change the log: all of its commands, or none."""

    actor: str
    reason: str
    request_id: str
    commands: tuple[Command, ...]
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write came to. `entry` is the head it was judged on when it changed nothing."""

    entry: Entry
    changed: bool
    created: bool
    modified_epoch: int


class Draft:
    """The tentative chain on top of a committed state. Owned by one group of the sequencer."""

    def __init__(
        self, registry: Registry, index: Index, last: Entry | None, tenure: Tenure, now_us: int
    ) -> None:
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
        changes: list[Change] = []
        try:
            view, created = self._admit(write.commands, self.last.epoch + 1, changes)
        except SIEError:
            self._index.restore([(c.entity_kind, c.key) for c in changes], self.registry)
            raise
        if changes:
            self._add(write, changes, view)
        return self._outcome(write, changed=bool(changes), created=created)

    def begin(self, changes: Sequence[Change], *, actor: str, reason: str) -> Entry:
        """Add an entry that no rule judges: the beginning of a log or a term, or its seed."""
        epoch = self.last.epoch + 1 if self.last is not None else 1
        write = Write(actor, reason, request_id="", commands=())
        self._add(write, changes, self._folded(self.registry, changes, epoch))
        return self.entries[-1]

    def _admit(
        self, commands: Sequence[Command], epoch: int, changes: list[Change]
    ) -> tuple[Registry, bool]:
        # Commands of one write see what the ones before them did.
        view, created = self.registry, False
        for command in commands:
            admitted = admit(view, self._index, self._tenure.log_id, command)
            created = created or admitted.created
            if not admitted.changed:
                continue
            changes.append(_change_of(command))
            document = command.document if isinstance(command, Put) else None
            self._index.update(command.kind, command.key, document)
            view = self._folded(view, changes[-1:], epoch)
        return view, created

    def _folded(self, view: Registry, changes: Sequence[Change], epoch: int) -> Registry:
        try:
            return preview(view, changes, epoch)
        except ChangeRefused as error:
            raise OurFault(f"an admitted change cannot be folded: {error}") from error

    def _add(self, write: Write, changes: Sequence[Change], view: Registry) -> None:
        last, tenure = self.last, self._tenure
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


def _change_of(command: Command) -> Change:
    if isinstance(command, Delete):
        return delete(command.kind, command.key)
    return Change(kind=f"{command.kind}.put", key=command.key, document=Raw(command.body))


def format_ts(microseconds: int) -> str:
    """RFC 3339, UTC, always six digits, so that text order is time order."""
    moment = _UNIX + timedelta(microseconds=microseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_ts(text: str) -> int:
    """Microseconds since 1970 of a time that `format_ts` wrote."""
    return (datetime.fromisoformat(text) - _UNIX) // _MICROSECOND
