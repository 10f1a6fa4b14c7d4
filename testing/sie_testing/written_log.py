"""A log that writes itself: what a correct writer would have appended, without a disk.

*pure.* The oracle of the tests: `registry_at` folds naively with plain dicts. So it shares no code
with the fold that it is held against.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sie_core.apply import preview
from sie_core.chain import Position, is_of_lineage, position_of
from sie_core.registry import Registry
from sie_runtime.signing import SigningKey
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import (
    GENESIS_HASH,
    Change,
    ChangeKind,
    Entry,
    Supersedes,
    build_entry,
    delete,
    put,
    put_key,
)
from sie_schemas.fleet import Head
from sie_schemas.snapshot import Snapshot
from sie_testing.signing import WRITER_KEY

__all__ = ["WrittenLog"]

NaiveState = dict[tuple[str, str], tuple[int, bytes]]
"""(kind, key) -> (modified epoch, document bytes)."""


class WrittenLog:
    """Entries 1, 2, 3 … of one log, each as a correct writer makes it.

    `base` continues another log's numbering, superseding it at its last entry. `key` signs every
    entry.
    """

    def __init__(
        self, name: str = "a", *, base: "WrittenLog | None" = None, key: SigningKey = WRITER_KEY
    ) -> None:
        self.key = key
        self.log_id = hashlib.sha256(name.encode()).hexdigest()[:32]
        self.entries: list[Entry] = []
        self.registries: list[Registry] = [Registry.EMPTY]
        self.states: list[NaiveState] = [{}]
        self.term = 0
        self.writer = ""
        supersedes = None
        if base is not None:
            self.entries = list(base.entries)
            self.registries = list(base.registries)
            self.states = list(base.states)
            self.term = base.term
            last = base.entries[-1]
            supersedes = Supersedes(last.log_id, last.epoch, last.hash)
        begin = Change(kind=ChangeKind.LOG_BEGIN, supersedes=supersedes)
        # A log that goes on under the same key says so only once.
        self.append([begin] if base is not None else [begin, put_key(self.key.document)])

    @property
    def epoch(self) -> int:
        """The last epoch."""
        return len(self.entries)

    @property
    def head(self) -> Head:
        """The head that the writer would announce."""
        last = self.entries[-1]
        return Head(
            log_id=last.log_id,
            epoch=last.epoch,
            hash=last.hash,
            digest=last.state_digest,
            term=last.term,
            signature=last.signature,
        )

    def begin_term(self) -> Entry:
        """A new tenure of the writer."""
        self.term += 1
        self.writer = f"writer-{self.term}"
        return self.append([Change(kind=ChangeKind.TERM_BEGIN)])

    def put(self, kind: str, key: str, document: Mapping[str, Any]) -> Entry:
        """Append an entry that puts one entity."""
        return self.append([put(kind, key, document)])

    def delete(self, kind: str, key: str) -> Entry:
        """Append an entry that deletes one entity."""
        return self.append([delete(kind, key)])

    def change_key(self, key: SigningKey) -> Entry:
        """Append the entry after which another key signs; the old one signs that."""
        entry = self.append([put_key(key.document)])
        self.key = key
        return entry

    def continued_by(self, key: SigningKey) -> "WrittenLog":
        """A copy that a stranger goes on with: links and digests are right, the key is theirs."""
        theirs = copy.copy(self)
        theirs.entries, theirs.states = list(self.entries), list(self.states)
        theirs.registries, theirs.key = list(self.registries), key
        return theirs

    def append(self, changes: Sequence[Change]) -> Entry:
        """Append an entry. Raises `ChangeRefused` and appends nothing for what cannot be folded."""
        epoch = self.epoch + 1
        registry = preview(self.registries[-1], changes, epoch)
        entry = build_entry(
            log_id=self.log_id,
            epoch=epoch,
            term=self.term,
            writer=self.writer,
            ts=f"2026-01-01T00:00:00.{epoch:06d}Z",
            actor="tester",
            reason="because",
            request_id=f"request-{epoch}",
            changes=changes,
            prev_hash=self.entries[-1].hash if self.entries else GENESIS_HASH,
            state_digest=registry.digest,
        )
        entry = self.key.signed(entry)
        self.entries.append(entry)
        self.registries.append(registry)
        self.states.append(_naive(self.states[-1], changes, epoch))
        return entry

    def position_at(self, epoch: int) -> Position:
        """The position after an epoch."""
        return position_of(self.entries[epoch - 1])

    def state_at(self, epoch: int) -> NaiveState:
        """The state after an epoch, folded naively."""
        return self.states[epoch]

    def snapshot_bytes(self, epoch: int) -> bytes:
        """A snapshot at an epoch, as the writer would export it."""
        lineage = [entry for entry in self.entries[:epoch] if is_of_lineage(entry)]
        rows = [
            snapshots.encode_row(kind, key, modified, document)
            for (kind, key), (modified, document) in sorted(self.states[epoch].items())
        ]
        return snapshots.encode(lineage, self.entries[epoch - 1], rows)

    def snapshot(self, epoch: int) -> Snapshot:
        """The same, decoded."""
        return snapshots.decode(self.snapshot_bytes(epoch))


def _naive(state: NaiveState, changes: Sequence[Change], epoch: int) -> NaiveState:
    after = dict(state)
    for change in changes:
        entity = (change.entity_kind, change.key)
        if change.entity_kind == "key":
            # Who signs is no part of the state.
            continue
        if change.verb == "put":
            after[entity] = (epoch, bytes(change.document))  # type: ignore[arg-type]
        elif change.verb == "delete":
            del after[entity]
    return after
