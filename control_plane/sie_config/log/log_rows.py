"""The rows of entries and idempotency keys in the log file.

*types*, and the reading of them. Promises that an entry read from a row is the one that the row
says it is, whatever a damaged page holds.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sie_schemas.entry import ENTITY_KINDS, Entry, EntryCorrupt, parse_entry
from sie_schemas.signature import Signature

__all__ = [
    "ENTRY_COLUMNS",
    "LISTED_KINDS",
    "SELECT_ROWS",
    "KeyRow",
    "change_rows",
    "entry_of",
    "rows",
    "signature_rows",
]

ENTRY_COLUMNS: Final = (
    "epoch, hash, prev_hash, log_id, body, key_id, value FROM log LEFT JOIN signature USING (epoch)"
)
"""The columns that `entry_of` takes, and the tables that they are from."""
SELECT_ROWS: Final = f"SELECT {ENTRY_COLUMNS} WHERE epoch > ? AND epoch <= ? ORDER BY epoch LIMIT ?"
"""Rows for `entry_of`: after, until, limit."""
LISTED_KINDS: Final = frozenset({*ENTITY_KINDS, "key"})
"""The kinds that are found again by name; keys are no entities, and are looked for all the same."""

_PAGE: Final = 1000
"""Rows in memory at a time: a log of any length is read in a few MiB."""
_EPOCH_MAX: Final = 2**62
"""Above every epoch: a million writes a second reach it in 146,000 years."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """The write that an idempotency key stands for: enough to give the first answer again."""

    actor: str
    key: str
    fingerprint: str
    epoch: int
    changed: bool
    created: bool
    modified_epoch: int


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry of a row of `SELECT_ROWS`, with its signature or without those columns, checked
    against it. Raises `EntryCorrupt`."""
    epoch, claimed, prev_hash, log_id, body, *signed = row
    if not isinstance(claimed, str) or not isinstance(body, bytes):
        # A damaged page can give a value of any type, whatever the schema says.
        raise EntryCorrupt(f"the row of epoch {epoch} holds no entry")
    entry = parse_entry(body, claimed, _signature_of(signed))
    if (entry.epoch, entry.prev_hash, entry.log_id) != (epoch, prev_hash, log_id):
        raise EntryCorrupt(f"the row of epoch {epoch} holds another entry")
    return entry


def rows(connection: sqlite3.Connection, position: int) -> Iterator[tuple[Any, ...]]:
    """Every row after an epoch, oldest first, for `entry_of`."""
    while True:
        page = connection.execute(SELECT_ROWS, (position, _EPOCH_MAX, _PAGE)).fetchall()
        yield from page
        if len(page) < _PAGE:
            return
        position = page[-1][0]


def change_rows(entries: Sequence[Entry]) -> list[tuple[str, str, int, int, str]]:
    """Rows of the table by which the changes of an entity are found."""
    return [
        (change.entity_kind, change.key, entry.epoch, ordinal, change.kind)
        for entry in entries
        for ordinal, change in enumerate(entry.changes)
        if change.entity_kind in LISTED_KINDS
    ]


def signature_rows(entries: Sequence[Entry]) -> list[tuple[int, str, str]]:
    """Rows of the signatures that entries bear."""
    return [
        (entry.epoch, entry.signature.key_id, entry.signature.value)
        for entry in entries
        if entry.signature is not None
    ]


def _signature_of(columns: Sequence[Any]) -> Signature | None:
    match columns:
        case [str(key_id), str(value)]:
            return Signature(key_id, value)
        case [] | [None, None]:
            return None
        case _:
            raise EntryCorrupt("the row of its signature holds none")
