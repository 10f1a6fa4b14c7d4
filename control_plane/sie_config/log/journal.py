"""The journal: entries read back, for whoever is behind.

*shell.* Owns one read-only connection and a bounded tail of the newest entries in memory. So a
crowd of followers near the head costs no disk. Promises never to give an entry beyond the epoch it
is asked for: what is committed but not yet announced stays unseen.
"""

import sqlite3
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import aiosqlite

from sie_config.log.log_rows import SELECT_ROWS, entry_of
from sie_config.log.schema import connect_reader
from sie_config.log.storage_faults import LogDamaged
from sie_schemas.entry import Entry, EntryCorrupt

__all__ = ["CHUNK_ROWS", "Journal"]

CHUNK_ROWS: Final = 64
"""The library's own number, which its constructor wants: rows that a cursor reads ahead."""


class Journal:
    """Reads of a log file that somebody else writes."""

    reads = 0
    """Pages that came from the file and not from memory."""

    def __init__(self, connection: aiosqlite.Connection, *, tail_entries: int) -> None:
        self._connection = connection
        self._tail: deque[Entry] = deque(maxlen=tail_entries)

    @classmethod
    async def open(cls, path: Path, *, tail_entries: int) -> "Journal":
        """Open a reader of a file that exists."""
        connection = aiosqlite.Connection(lambda: connect_reader(path), CHUNK_ROWS)
        return cls(await connection, tail_entries=tail_entries)

    def remember(self, entries: Iterable[Entry]) -> None:
        """Keep entries that were just committed, in order."""
        self._tail.extend(entries)

    def forget(self) -> None:
        """Drop the tail; the file has it all."""
        self._tail.clear()

    async def page(self, after: int, until: int, limit: int) -> list[Entry]:
        """At most `limit` entries with after < epoch <= until. Raises `LogDamaged`."""
        until = min(until, after + limit)
        if until <= after:
            return []
        # Followers near the head are the crowd, and memory spares them the writer's disk. Both ends
        # count: before a gap one entry was given for another, and a tail that ends early is short.
        if self._tail and self._tail[0].epoch <= after + 1 and self._tail[-1].epoch >= until:
            first = self._tail[0].epoch
            return [self._tail[epoch - first] for epoch in range(after + 1, until + 1)]
        self.reads += 1
        return await self._read(after, until)

    async def entry(self, epoch: int) -> Entry | None:
        """The entry of an epoch."""
        found = await self.page(epoch - 1, epoch, 1)
        return found[0] if found else None

    async def close(self) -> None:
        """Close the connection and its thread."""
        await self._connection.close()

    async def _read(self, after: int, until: int) -> list[Entry]:
        try:
            rows = await self._connection.execute_fetchall(
                SELECT_ROWS, (after, until, until - after)
            )
            return [entry_of(tuple(row)) for row in rows]
        except (EntryCorrupt, sqlite3.DatabaseError) as error:
            raise LogDamaged(
                f"entries {after + 1} to {until} could not be read back: {error}",
                first_bad_epoch=None,
            ) from error
