"""The lookup: where in the log an actor's entries and a revision's documents are.

*shell.* Owns `lookup.sqlite` beside the log, which holds nothing but what the entries say. It is
filled from them behind the writer's back, and may be removed at any time. A file that is of another
log, damaged, or on a disk that fails, is given up, and all of it made again in memory. Promises
that an answer knows every entry up to the epoch that it is asked for.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

from sie_config.log.log_rows import SELECT_ROWS, entry_of
from sie_config.log.own_thread import OwnThread
from sie_config.log.schema import connect_reader
from sie_config.log.storage_faults import LogDamaged, StorageFailed
from sie_runtime.process.waiting import first_of
from sie_schemas.entry import Change, Entry, EntryCorrupt
from sie_schemas.errors import SIEError
from sie_schemas.revisions import adapter_revision, model_revision

__all__ = ["Lookup", "revisions_of"]

T = TypeVar("T")

_Row: TypeAlias = tuple[Any, ...]

_LOG: Final = logging.getLogger(__name__)
_VERSION: Final = 1
"""Of the layout; another one is built anew from the log."""
_PAGE: Final = 400
"""Entries taken in between two turns: at 39 µs each a question waits 16 ms for them."""
_LATE: Final = 10_000
"""Entries after which writes are not waited out any more: a question would first note them, 0.4 s
of work."""
_DIGITS: Final = 64
"""Of a SHA-256 in hex."""
_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS noted (
  one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS change (
  actor TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (actor, epoch, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revision (
  revision BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,
  profile TEXT NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (revision, epoch, ordinal, profile)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class Lookup:
    """The lookup of one log, behind its thread. Made with its control plane, closed by it."""

    def __init__(
        self,
        path: Path,
        log_path: Path,
        *,
        head: Callable[[], int],
        moved: Callable[[], Coroutine[Any, Any, object]],
        late: int = _LATE,
    ) -> None:
        """`moved` ends when the head may be another one. `late` is how far it may fall behind."""
        self._file = _LookupFile(path, log_path)
        self._head = head
        self._moved = moved
        self._late = late
        self._thread: OwnThread | None = None

    async def run(self, stop: asyncio.Event, *, every_s: float) -> None:
        """Follow the log while nobody writes: a write is not to share the processor with this."""
        seen, noted = 0, 0
        while not stop.is_set():
            head = self._head()
            # Not in the log's own file: a column there would cost every write, and the schema is
            # compared letter for letter, so that older releases would take the file for damaged.
            if head > noted and (head == seen or head - noted > self._late):
                try:
                    # A page at a time: a read, or the end of the process, has its turn between.
                    noted = await self._run(partial(self._file.follow, head))
                except SIEError as error:
                    _LOG.warning("the lookup does not follow", extra={"reason": error.message})
                    return
            elif head == noted:
                await first_of(stop.wait(), self._moved())
            else:
                await first_of(stop.wait(), timeout_s=every_s)
            seen = head

    async def epochs_of(
        self, actor: str, *, kind: str | None, key: str | None, first: int, last: int, limit: int
    ) -> list[int]:
        """The newest entries of an actor in [first, last], newest first; of an entity if named."""
        sql = (
            "SELECT DISTINCT epoch FROM change WHERE actor = ? AND epoch >= ? AND epoch <= ?"
            " AND (? IS NULL OR kind = ?) AND (? IS NULL OR key = ?) ORDER BY epoch DESC LIMIT ?"
        )
        asked = (actor, first, last, kind, kind, key, key, limit)
        return [epoch for (epoch,) in await self._run(lambda: self._file.rows(sql, asked, last))]

    async def made(self, revision: str, *, key: str, until: int) -> tuple[int, int, str] | None:
        """The newest change up to an epoch whose document has a revision with this beginning.

        Its epoch, its place in the entry, and the profile, which is empty for an adapter.
        """
        sql = (
            "SELECT epoch, ordinal, profile FROM revision WHERE revision BETWEEN ? AND ?"
            " AND epoch <= ? AND (? = '' OR key = ?) ORDER BY epoch DESC, ordinal DESC LIMIT 1"
        )
        least, most = (bytes.fromhex(revision.ljust(_DIGITS, digit)) for digit in "0f")
        asked = (least, most, until, key, key)
        rows = await self._run(lambda: self._file.rows(sql, asked, until))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def close(self) -> None:
        """Close the file, and let the thread end."""
        if self._thread is not None:
            await self._run(self._file.close)
            self._thread.end()

    async def _run(self, call: Callable[[], T]) -> T:
        if self._thread is None:
            self._thread = OwnThread("lookup")
        return await self._thread.run(call)


class _LookupFile:
    """The file, and a reader of the log that fills it. Belongs to one thread."""

    def __init__(self, path: Path, log_path: Path) -> None:
        self._path = path
        self._log_path = log_path
        self._log: sqlite3.Connection | None = None
        self._connection: sqlite3.Connection | None = None
        self._noted = 0

    def rows(self, sql: str, parameters: Sequence[Any], until: int) -> list[_Row]:
        """The rows of a statement, once everything up to an epoch is noted.

        Raises `LogDamaged`, `StorageFailed`.
        """

        def asked(connection: sqlite3.Connection) -> list[_Row]:
            while self._noted < until:
                self._note_page(connection, until)
            return connection.execute(sql, parameters).fetchall()

        return self._on_any_disk(asked)

    def follow(self, until: int) -> int:
        """Note one page of the entries up to an epoch; gives the last one that is noted."""
        self._on_any_disk(lambda connection: self._note_page(connection, until))
        return self._noted

    def close(self) -> None:
        """Close both connections."""
        for connection in (self._connection, self._log):
            if connection is not None:
                connection.close()

    def _on_any_disk(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection or self._open())
        except sqlite3.Error as error:
            _LOG.warning("the lookup is made again in memory", extra={"reason": str(error)})
        try:
            return work(self._begin_anew(":memory:"))
        except sqlite3.Error as error:
            raise StorageFailed(f"the past could not be looked up: {error}") from error

    def _note_page(self, connection: sqlite3.Connection, until: int) -> None:
        if self._noted < until:
            entries = self._entries(self._noted, until)
            _note(connection, entries)
            self._noted = entries[-1].epoch

    def _entries(self, after: int, until: int) -> list[Entry]:
        try:
            if self._log is None:
                self._log = connect_reader(self._log_path)
            rows = self._log.execute(SELECT_ROWS, (after, until, _PAGE)).fetchall()
            entries = [entry_of(row) for row in rows]
        except sqlite3.OperationalError as error:
            raise StorageFailed(f"the past could not be read: {error}") from error
        except (EntryCorrupt, sqlite3.DatabaseError) as error:
            raise LogDamaged(
                f"entries from {after + 1} on cannot be read back: {error}", first_bad_epoch=None
            ) from error
        if not entries:
            raise LogDamaged(f"epoch {after + 1} is not in the file", first_bad_epoch=after + 1)
        return entries

    def _open(self) -> sqlite3.Connection:
        connection = self._connect(str(self._path))
        noted = connection.execute("SELECT epoch, hash FROM noted").fetchone()
        if noted is None:
            return connection
        epoch, claimed = noted
        try:
            # The log may be another one since: restored, or begun anew.
            is_of_the_log = epoch >= 1 and self._entries_hash(epoch) == claimed
        except StorageFailed:
            # It was not judged, so that the next question opens it anew.
            self._connection = None
            connection.close()
            raise
        if not is_of_the_log:
            return self._begin_anew(str(self._path))
        self._noted = epoch
        return connection

    def _entries_hash(self, epoch: int) -> str:
        try:
            return self._entries(epoch - 1, epoch)[0].hash
        except LogDamaged:
            return ""

    def _begin_anew(self, target: str) -> sqlite3.Connection:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()
        self._noted = 0
        return self._connect(target)

    def _connect(self, target: str) -> sqlite3.Connection:
        self._connection = connection = sqlite3.connect(
            target, isolation_level=None, check_same_thread=False, timeout=5.0
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may take the newest transactions, and each of them whole.
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise sqlite3.DatabaseError(f"its layout is version {version}, not {_VERSION}")
        connection.executescript(_SCHEMA)
        return connection


def revisions_of(change: Change) -> Iterator[tuple[str, str]]:
    """Each revision that a change's document has, with the profile; none for most kinds."""
    if change.document is UNSET or change.entity_kind not in {"adapter", "model"}:
        return
    document = msgspec.json.decode(change.document)
    if change.entity_kind == "adapter":
        yield adapter_revision(document), ""
    else:
        for profile in document["profiles"]:
            yield model_revision(document, profile), profile


def _note(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    changes: list[_Row] = []
    revisions: list[_Row] = []
    for entry in entries:
        for ordinal, change in enumerate(entry.changes):
            changes.append((entry.actor, entry.epoch, ordinal, change.entity_kind, change.key))
            revisions += [
                (bytes.fromhex(revision), entry.epoch, ordinal, profile, change.key)
                for revision, profile in revisions_of(change)
            ]
    last = entries[-1]
    # What is noted and how far go to disk together, or not at all.
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("INSERT INTO change VALUES (?, ?, ?, ?, ?)", changes)
        connection.executemany("INSERT INTO revision VALUES (?, ?, ?, ?, ?)", revisions)
        connection.execute("INSERT OR REPLACE INTO noted VALUES (1, ?, ?)", (last.epoch, last.hash))
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
