"""The log file: every entry ever written, in one SQLite file that refuses to forget.

*shell.* Owns the lock and the one writing connection; belongs to one thread. Promises that what
`append` returned from is on disk whole, and that a second writer is refused. What is read back is
checked row by row: damage is an error that names the first bad epoch. Nothing here opens the
database except through SQLite: one stray `open().close()` would drop SQLite's own locks.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from sie_config.log.log_rows import KeyRow, change_rows, entry_of, rows, signature_rows
from sie_config.log.schema import (
    connect_bare,
    connect_reader,
    connect_writer,
    guard,
    is_current,
    is_written_back,
    migrate,
    migrations_damage,
    newer_migrations,
    schema_damage,
)
from sie_config.log.storage_faults import (
    LogDamaged,
    LogNewer,
    StorageFailed,
    StorageFull,
    raise_damaged,
    translated,
)
from sie_config.log.writer_lock import take_lock
from sie_core.chain import ChainBroken, Position, check_successor, position_of
from sie_schemas.entry import Entry, EntryCorrupt
from sie_schemas.errors import SIEError, Untrusted

__all__ = ["LogFile"]

_LOG: Final = logging.getLogger(__name__)
_PAGES_MAX: Final = 0xFFFFFFFE
"""SQLite's own bound, which is what it has without one."""


class LogFile:
    """One open log. Not thread-safe: its owner is the thread that opened it.

    Invariant: after `failed` is set nothing is written any more; only a fresh process may.
    """

    read_only = False
    """True if the disk took nothing at the start: then there is neither a lock nor a writer."""

    def __init__(self, path: Path, lock: int | None, connection: sqlite3.Connection) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._inodes: dict[str, tuple[int, int]] = {}
        self.failed: SIEError | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        bytes_max: int = 0,
        connect: Callable[[Path], sqlite3.Connection] = connect_bare,
    ) -> "LogFile":
        """Take the lock, open or create the file, and write its write-ahead log back.

        It is written back before anything is read. The tail that a killed writer left readable may
        not be on disk yet, and whoever applied it would be ahead after a power cut. Raises
        `StoreLocked`, `LogDamaged`, `LogNewer`, `StorageFull`, `StorageFailed`.
        """
        lock = take_lock(_sibling(path, ".lock"))
        connection: sqlite3.Connection | None = None
        try:
            connection = connect_writer(path, connect)
            _raise_schema_damaged(path, migrations_damage(connection))
            _raise_newer(path, connection)
            migrate(connection)
            # Letter for letter: a flipped bit in the text of a trigger leaves one that parses and
            # guards nothing, and `PRAGMA integrity_check` is content with it.
            _raise_schema_damaged(path, schema_damage(connection))
            guard(connection)
            file = cls(path, lock, connection)
            file.bound(bytes_max)
            file._write_back()
            file._remember_inodes()
        except (sqlite3.Error, SIEError, OSError, UnicodeDecodeError) as error:
            if connection is not None:
                connection.close()
            os.close(lock)
            if isinstance(error, sqlite3.Error | UnicodeDecodeError):
                raise translated(error, path, "open") from error
            raise
        return file

    @classmethod
    def open_to_read(cls, path: Path, why: StorageFull | StorageFailed) -> "LogFile":
        """Open a file on a disk that takes nothing, for which `open` raised `why`.

        Only where nothing waits in the write-ahead log: what is in there may not be on disk, and
        cannot be put there now. Raises `why`, saying so, or `LogDamaged`.
        """
        if not is_written_back(path):
            wal = _sibling(path, "-wal")
            what = (
                f"{wal} waits to be written back first" if path.is_file() else "there is no log yet"
            )
            raise type(why)(
                f"{why.message}. Nothing can be served meanwhile: {what}. Start again once that "
                "is mended"
            ) from why
        try:
            connection = connect_reader(path)
        except sqlite3.Error as error:
            raise translated(error, path, "open") from error
        file = cls(path, None, connection)
        try:
            _raise_newer(path, connection)
            _raise_schema_damaged(path, schema_damage(connection))
            if not is_current(connection):
                raise type(why)(
                    f"{why.message}. The log is of an older release, and is brought up to date "
                    "once the disk takes writes"
                )
        except (sqlite3.Error, UnicodeDecodeError, SIEError) as error:
            file.close()
            if isinstance(error, SIEError):
                raise
            raise translated(error, path, "open") from error
        file.read_only = True
        file.failed = type(why)(
            f"{why.message}. Reads go on; writes too, by a fresh process, once the disk takes them"
        )
        return file

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @property
    def connection(self) -> sqlite3.Connection:
        """The writing connection, for reads by the thread that owns this."""
        return self._connection

    def verified(self, after: Position | None = None) -> Iterator[Entry]:
        """Every entry after a position, oldest first, each checked: row, hash and chain.

        Raises `LogDamaged`.
        """
        last = after
        try:
            for row in rows(self._connection, 0 if after is None else after.epoch):
                entry = entry_of(row)
                check_successor(last, entry)
                last = position_of(entry)
                yield entry
        except (ChainBroken, EntryCorrupt, sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # Damage is never the end of the log: taken for it, the writer went on from an older
            # epoch, and wrote other entries under numbers that replicas had.
            raise_damaged(self._path, 1 if last is None else last.epoch + 1, error)

    def append(self, entries: Sequence[Entry], keys: Sequence[KeyRow] = ()) -> None:
        """Write entries and idempotency rows in one transaction that is on disk at return.

        Raises `StorageFull` (nothing was written, try later) or `StorageFailed` (the outcome may be
        unknown; `failed` is set). Raises `Untrusted` when the file under us is no longer ours.
        """
        self._require_writable()
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (e.epoch, e.hash, e.prev_hash, e.log_id, e.term, e.ts, e.actor, e.body)
                    for e in entries
                ],
            )
            connection.executemany(
                "INSERT INTO change VALUES (?, ?, ?, ?, ?)", change_rows(entries)
            )
            connection.executemany(
                "INSERT INTO signature VALUES (?, ?, ?)", signature_rows(entries)
            )
            # In the same transaction: a power cut between two of them leaves a write without its
            # key, and its retry is written again.
            if keys:
                connection.executemany(
                    "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            k.actor,
                            k.key,
                            k.fingerprint,
                            k.epoch,
                            k.changed,
                            k.created,
                            k.modified_epoch,
                        )
                        for k in keys
                    ],
                )
            # A crash before the next line leaves nothing of the group, one after it leaves all.
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(error)
        # A commit that went into a file which was unlinked meanwhile is not one: say it now.
        self._check_ours()

    def key_row(self, actor: str, key: str) -> KeyRow | None:
        """The row that was stored for an idempotency key. Raises `LogDamaged`, `StorageFailed`."""
        try:
            # By its actor too, and letter for letter: a key is one team's, and another's write may
            # not be answered by it.
            row = self._connection.execute(
                "SELECT fingerprint, epoch, changed, created, modified_epoch"
                " FROM idempotency WHERE actor = ? AND key = ?",
                (actor, key),
            ).fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise translated(error, self._path, "read") from error
        if row is None:
            return None
        fingerprint, epoch, changed, created, modified_epoch = row
        return KeyRow(actor, key, fingerprint, epoch, bool(changed), bool(created), modified_epoch)

    def low_water(self) -> int:
        """The first epoch that is served as a delta; 1 until it was moved."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = 'low_water'").fetchone()
        return int(row[0]) if row is not None else 1

    def move_low_water(self, epoch: int) -> None:
        """Move the mark up. Never down: a delta once refused stays refused. Raises as `append`."""
        self._require_writable()
        try:
            self._connection.execute(
                "INSERT INTO meta VALUES ('low_water', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (epoch,),
            )
        except sqlite3.Error as error:
            self._fail(error)
        self._check_ours()

    def bound(self, bytes_max: int) -> None:
        """Set the largest size of the file; 0 is no bound. What is over it stays."""
        page_bytes = self._connection.execute("PRAGMA page_size").fetchone()[0]
        pages_max = max(1, bytes_max // page_bytes) if bytes_max > 0 else _PAGES_MAX
        self._connection.execute(f"PRAGMA max_page_count = {pages_max}")

    def close(self) -> None:
        """Write the write-ahead log back, close the connection, then give the lock up."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)

    def _write_back(self) -> None:
        busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageFailed(
                f"{self._path}: a reader keeps the write-ahead log from being written back; stop it"
            )

    def _remember_inodes(self) -> None:
        # An empty transaction makes SQLite create the -wal file if it is not there yet.
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("COMMIT")
        for file in (self._path, _sibling(self._path, "-wal"), _sibling(self._path, ".lock")):
            self._inodes[str(file)] = _inode(str(file))
        shared = _sibling(self._path, "-shm")
        # In it readers and the writer see each other; a disk of a test has none.
        if shared.exists():
            self._inodes[str(shared)] = _inode(str(shared))

    def look(self) -> None:
        """Raise `Untrusted` when the file under us is no longer ours, and `failed` is not set."""
        if self.failed is None:
            self._check_ours()

    def _require_writable(self) -> None:
        # A failed commit may be on the disk or not. A fresh process reads which it is; this one
        # must not write behind it.
        if self.failed is not None:
            raise self.failed
        # Before as well as after: into a write-ahead log that was unlinked SQLite goes on
        # committing, and all of that is gone with the process.
        self._check_ours()

    def _check_ours(self) -> None:
        for file, expected in self._inodes.items():
            try:
                ours = _inode(file) == expected
            except OSError:
                ours = False
            if not ours:
                self._save_what_was_acknowledged()
                self.failed = Untrusted(
                    f"{file} was replaced or removed while sie-config had it open: a commit could "
                    "be lost. Nothing is written any more; find out who did it, then restart",
                    code="LOG_RECOVERY",
                )
                raise self.failed

    def _save_what_was_acknowledged(self) -> None:
        """Write the write-ahead log back while this process still has it open.

        Whoever unlinked it took what was answered and not written back yet: at the end of this
        process it would be gone. Only into a database file that is still our own.
        """
        try:
            if _inode(str(self._path)) == self._inodes.get(str(self._path)):
                self._connection.execute("PRAGMA wal_checkpoint(FULL)")
        except (OSError, sqlite3.Error):
            _LOG.exception("what was acknowledged may be in the removed write-ahead log alone")

    def _fail(self, error: sqlite3.Error) -> NoReturn:
        fault = translated(error, self._path, "write")
        # A full disk failed the group whole, so the next one that fits may be tried by this
        # process.
        if not isinstance(fault, StorageFull):
            self.failed = fault
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as second:
                self.failed = translated(second, self._path, "roll back")
        raise fault from error


def _raise_newer(path: Path, connection: sqlite3.Connection) -> None:
    if what := newer_migrations(connection):
        raise LogNewer(
            f"{path} was written by a newer release ({what}): start that release, or restore a "
            "backup that this one made"
        )


def _raise_schema_damaged(path: Path, what: str) -> None:
    if what:
        raise LogDamaged(
            f"{path} is damaged: its schema is not as it was made ({what})", first_bad_epoch=None
        )


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _inode(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
