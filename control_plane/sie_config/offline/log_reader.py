"""A reader of a log file that somebody else may be writing.

*shell.* Owns one read-only connection inside one read transaction: everything it gives is of one
moment. Takes no lock, writes nothing back and leaves no trace in the log. Raises `NotReadable` for
a file that is not there or cannot be opened; what is wrong inside a file is for `verification`.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sie_config.log.log_rows import KeyRow, entry_of
from sie_config.log.schema import connect_reader
from sie_config.log.storage_faults import LogDamaged
from sie_schemas.entry import Entry
from sie_schemas.errors import Later

__all__ = ["LOG_NAME", "LogReader", "NotReadable", "log_path"]

LOG_NAME: Final = "log.sqlite"
_PAGE: Final = 1000
"""Rows in memory at a time: a log of any length is read in a few MiB."""
_ROWS: Final = (
    "SELECT epoch, hash, prev_hash, log_id, body, {signature}, term, ts, actor FROM log {joined}"
    " WHERE epoch > ? ORDER BY epoch LIMIT ?"
)
_NEWEST_LOG_ID: Final = "SELECT log_id FROM log ORDER BY epoch DESC LIMIT 1"
_SIGNED: Final = _ROWS.format(signature="key_id, value", joined="LEFT JOIN signature USING (epoch)")
_UNSIGNED: Final = _ROWS.format(signature="NULL, NULL", joined="")
"""Of a file that a release before signatures wrote, and no later one opened to write."""
_CHANGES: Final = (
    "SELECT epoch, ordinal, entity_kind, entity_key, kind FROM change ORDER BY epoch, ordinal"
)
_KEYS: Final = (
    "SELECT actor, key, fingerprint, epoch, changed, created, modified_epoch FROM idempotency"
    " ORDER BY epoch"
)


class NotReadable(Later):
    """There is no log there, or it cannot be opened now."""

    code = "NOT_READY"


def log_path(given: Path) -> Path:
    """The log file of a data folder, or the file itself."""
    return given / LOG_NAME if given.is_dir() else given


class LogReader:
    """One moment of one log file. Made by `open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path: Final = path
        self.connection: Final = connection

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator["LogReader"]:
        """Open for reading, for the length of a `with`. Raises `NotReadable`, `LogDamaged`.

        What SQLite cannot read inside the `with` comes out of it as `LogDamaged` too.
        """
        if not path.is_file():
            raise NotReadable(f"there is no log at {path}")
        try:
            connection = connect_reader(path)
        except sqlite3.Error as error:
            raise NotReadable(f"{path} cannot be opened: {error}") from error
        try:
            try:
                connection.execute("BEGIN")
                # A transaction begins with its first read.
                (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except sqlite3.OperationalError as error:
                raise NotReadable(f"{path} cannot be read: {error}") from error
            if not tables:
                raise LogDamaged(f"{path} is empty: it holds no log", first_bad_epoch=None)
            yield cls(path, connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            # A message that quotes damaged bytes cannot even be decoded.
            raise LogDamaged(f"{path} is damaged: {error}", first_bad_epoch=None) from error
        finally:
            connection.close()

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows of the log: those of `entry_of`, seven columns, then term, ts and actor."""
        epoch = 0
        signed = self.connection.execute("PRAGMA table_info(signature)").fetchall()
        select = _SIGNED if signed else _UNSIGNED
        while rows := self.connection.execute(select, (epoch, _PAGE)).fetchall():
            yield from rows
            epoch = rows[-1][0]

    def entries(self) -> Iterator[Entry]:
        """The entries, each checked against its row. Raises `EntryCorrupt`."""
        return (entry_of(row[:7]) for row in self.rows())

    def hash_at(self, epoch: int) -> str:
        """The hash that the row of an epoch has; empty if there is none."""
        row = self.connection.execute("SELECT hash FROM log WHERE epoch = ?", (epoch,)).fetchone()
        return str(row[0]) if row is not None else ""

    def log_id(self) -> str:
        """The log that the newest entry is of; empty where there is no entry."""
        row = self.connection.execute(_NEWEST_LOG_ID).fetchone()
        return str(row[0]) if row is not None else ""

    def changes(self) -> Iterator[tuple[Any, ...]]:
        """The rows that name the changes of each entry."""
        return self.connection.execute(_CHANGES)

    def key_rows(self) -> Iterator[KeyRow]:
        """The idempotency rows."""
        for actor, key, fingerprint, epoch, changed, created, modified in self.connection.execute(
            _KEYS
        ):
            yield KeyRow(actor, key, fingerprint, epoch, bool(changed), bool(created), modified)

    def low_water(self) -> int:
        """The first epoch that is served as a delta."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = 'low_water'").fetchone()
        return int(row[0]) if row is not None else 1

    def integrity(self) -> list[str]:
        """The faults that SQLite itself finds; none, mostly."""
        rows = self.connection.execute("PRAGMA integrity_check").fetchall()
        return [str(row[0]) for row in rows if row[0] != "ok"]
