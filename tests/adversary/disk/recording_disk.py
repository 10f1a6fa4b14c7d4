"""A recording disk: SQLite over a layer that writes down, or fails, whatever it asks of the disk.

*shell.* Owns one virtual file system of apsw's SQLite. Gives connections of the shape that the
standard library's have, so that the very code which writes a log in production can be run over it
and its operations be replayed into crash images. Promises that an operation is recorded after it
took effect, and that a planned fault hits exactly the operation that was named. The SQLite under
it is apsw's own and not the standard library's: read images back with the latter.
"""

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import apsw
from tests.adversary.disk.crash_images import Deleted, Operation, Synced, Truncated, Wrote

__all__ = ["Fault", "RecordingDisk"]

_NAMES: Final = itertools.count()


@dataclass(frozen=True, slots=True)
class Fault:
    """The disk fails from operation number `first` on, for `count` of them.

    `code` is SQLite's (`sqlite3.SQLITE_FULL`, `SQLITE_IOERR_FSYNC` …); it hits `kinds` alone.
    """

    first: int
    code: int
    count: int = 1
    kinds: tuple[type[Operation], ...] = (Wrote, Truncated, Synced, Deleted)
    after_effect: bool = False
    """True if the operation takes effect before it is said to have failed."""


class RecordingDisk:
    """One folder as SQLite sees it. `operations` is everything that took effect, in order."""

    def __init__(self, *, pages_until_checkpoint: int = 1000) -> None:
        self.operations: list[Operation] = []
        self.fault: Fault | None = None
        self._pages_until_checkpoint = pages_until_checkpoint
        self._attempts = 0
        self._vfs = _VFS(f"recording-{next(_NAMES)}", self)

    @property
    def attempts(self) -> int:
        """The number of operations that were asked for, failed ones included."""
        return self._attempts

    def connect(self, path: Path) -> sqlite3.Connection:
        """A bare connection over this disk, for the log file to set up."""
        connection = _Connection(path, self._vfs.vfs_name, self._pages_until_checkpoint)
        # It has every method that the log file calls; the class cannot be subclassed to this end.
        return cast(sqlite3.Connection, connection)

    def close(self) -> None:
        """Unregister the file system; every connection must be closed."""
        self._vfs.unregister()

    def perform(self, operation: Operation, effect: Callable[[], None]) -> None:
        """Let an operation take effect and record it, or fail it."""
        number, self._attempts = self._attempts, self._attempts + 1
        fault = self.fault
        hit = (
            fault is not None
            and fault.first <= number < fault.first + fault.count
            and isinstance(operation, fault.kinds)
        )
        if not hit or (fault is not None and fault.after_effect):
            effect()
            self.operations.append(operation)
        if hit and fault is not None:
            error = apsw.exception_for(fault.code)
            error.args = (f"the disk fails: {operation.file}",)
            raise error


class _VFS(apsw.VFS):
    def __init__(self, name: str, disk: RecordingDisk) -> None:
        super().__init__(name, "")
        self.vfs_name = name
        self._disk = disk

    def xOpen(  # noqa: N802
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        return _File(name, flags, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.perform(
            Deleted(Path(filename).name, syncdir),
            lambda: super(_VFS, self).xDelete(filename, syncdir),
        )


class _File(apsw.VFSFile):
    def __init__(
        self, name: str | apsw.URIFilename | None, flags: list[int], disk: RecordingDisk
    ) -> None:
        super().__init__("", name, flags)
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(text).name if text else ""
        self._disk = disk
        # SQLite syncs the folder with the first sync of a journal that it may have created.
        self._folder_is_new = bool(
            flags[0] & apsw.SQLITE_OPEN_CREATE
            and flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL)
        )

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.perform(
            Wrote(self._name, offset, bytes(data)),
            lambda: super(_File, self).xWrite(data, offset),
        )

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.perform(
            Truncated(self._name, newsize), lambda: super(_File, self).xTruncate(newsize)
        )

    def xSync(self, flags: int) -> None:  # noqa: N802
        # The file below is not synced: what counts is the record, and a test has no time to lose.
        self._disk.perform(Synced(self._name, self._folder_is_new), lambda: None)
        self._folder_is_new = False


class _Rows:
    """A finished statement: every row was fetched."""

    def __init__(self, rows: list[tuple[Any, ...]], columns: Sequence[Any] | None) -> None:
        self._rows = iter(rows)
        self.description = columns
        self.rowcount = -1
        self.lastrowid = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)


class _Connection:
    """An apsw connection behind the methods of a `sqlite3` one, errors translated."""

    def __init__(self, path: Path, vfs: str, pages_until_checkpoint: int) -> None:
        self._pages_until_checkpoint = pages_until_checkpoint
        try:
            self._connection = apsw.Connection(str(path), vfs=vfs)
        except apsw.Error as error:
            raise _translated(error) from error
        self._connection.set_wal_hook(self._committed)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> _Rows:
        columns: list[Sequence[Any]] = []

        def note(cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
            columns.append(cursor.description)
            return True

        cursor = self._connection.cursor()
        cursor.exec_trace = note
        try:
            rows = list(cursor.execute(sql, tuple(parameters)))
        except apsw.Error as error:
            raise _translated(error) from error
        return _Rows(rows, columns[0] if columns and columns[0] else None)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        for each in parameters:
            self.execute(sql, each)

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def set_authorizer(self, authorizer: Callable[..., int]) -> None:
        self._connection.authorizer = authorizer

    def close(self) -> None:
        # SQLite says nothing of a last checkpoint that failed; apsw does, and is open still.
        with contextlib.suppress(apsw.Error):
            self._connection.close()
        self._connection.close(True)

    def _committed(self, connection: apsw.Connection, _name: str, pages: int) -> int:
        # What SQLite does by itself after a commit, where a failure is no failure of the commit.
        # apsw would raise it from the COMMIT.
        if pages >= self._pages_until_checkpoint:
            with contextlib.suppress(apsw.Error):
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        return apsw.SQLITE_OK


def _translated(error: apsw.Error) -> sqlite3.Error:
    code = getattr(error, "extendedresult", 0) or getattr(error, "result", 0)
    kind: type[sqlite3.Error] = sqlite3.OperationalError
    if code & 0xFF == sqlite3.SQLITE_CONSTRAINT:
        kind = sqlite3.IntegrityError
    elif code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        kind = sqlite3.DatabaseError
    translated = kind(str(error))
    translated.sqlite_errorcode = code
    return translated
