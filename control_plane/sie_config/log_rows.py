"""How entries and idempotency keys stand in the log file, row by row.

*types*, and the reading of them. Promises that an entry read from a row is the one that the row
says it is, whatever a damaged page holds.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sie_schemas.entry import ENTITY_KINDS, Entry, EntryCorrupt, parse_entry

__all__ = ["SELECT_ROWS", "KeyRow", "change_rows", "entry_of", "rows"]

SELECT_ROWS: Final = (
    "SELECT epoch, hash, prev_hash, log_id, body FROM log"
    " WHERE epoch > ? AND epoch <= ? ORDER BY epoch LIMIT ?"
)
"""Rows for `entry_of`: after, until, limit."""

_PAGE: Final = 1000
_EPOCH_MAX: Final = 2**62


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What an idempotency key stands for: enough to give the first answer again."""

    actor: str
    key: str
    fingerprint: str
    epoch: int
    changed: bool
    created: bool
    modified_epoch: int


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry of a row of `SELECT_ROWS`, checked against it. Raises `EntryCorrupt`."""
    epoch, claimed, prev_hash, log_id, body = row
    if not isinstance(claimed, str) or not isinstance(body, bytes):
        # A damaged page can give a value of any type, whatever the schema says.
        raise EntryCorrupt(f"the row of epoch {epoch} holds no entry")
    entry = parse_entry(body, claimed)
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
        if change.entity_kind in ENTITY_KINDS
    ]
