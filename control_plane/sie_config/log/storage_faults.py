"""The faults that the storage of a log can have.

*types*, and what SQLite says in their words. A fault says what was being done, on which file, and
what to do. Its class tells whether a commit is known to have come to nothing.
"""

import sqlite3
from pathlib import Path
from typing import NoReturn

from sie_schemas.errors import Later, SIEError, Untrusted

__all__ = [
    "LogDamaged",
    "LogNewer",
    "StorageFailed",
    "StorageFull",
    "StoreLocked",
    "raise_damaged",
    "translated",
]


class LogDamaged(Untrusted):
    """The file cannot be trusted from `first_bad_epoch` on (None: nothing of it can be read)."""

    def __init__(self, message: str, *, first_bad_epoch: int | None) -> None:
        super().__init__(message, code="LOG_RECOVERY", details={"first_bad_epoch": first_bad_epoch})
        self.first_bad_epoch = first_bad_epoch


class LogNewer(Untrusted):
    """A newer release changed the schema of the file: this one would not write it as it must."""

    code = "LOG_RECOVERY"


class StorageFull(Later):
    """Nothing was written: there is no room."""

    code = "STORAGE_FULL"


class StorageFailed(Later):
    """The disk failed. After a commit, whether it is written is unknown until the file reopens."""

    code = "STORAGE_FAILED"


class StoreLocked(Later):
    """Another process is the writer of this file."""

    code = "LOG_READ_ONLY"


def raise_damaged(path: Path, epoch: int, error: Exception) -> NoReturn:
    """Raise `LogDamaged` for an entry that was read and is not what it should be."""
    raise LogDamaged(
        f"{path} is damaged at epoch {epoch}: {error}. Epochs before it were verified",
        first_bad_epoch=epoch,
    ) from error


def translated(error: sqlite3.Error | UnicodeDecodeError, path: Path, doing: str) -> SIEError:
    """An error of SQLite at `open`, `write` or another deed, as one of these."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"{path}: no room to {doing}; free space, then send the write again")
    # No statement at open is wrong in itself: one that is refused found another schema than ours.
    unreadable = code == sqlite3.SQLITE_ERROR and doing == "open"
    # A message that quotes damaged bytes cannot even be decoded.
    unreadable = unreadable or isinstance(error, UnicodeDecodeError)
    if unreadable or code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return LogDamaged(f"{path} is damaged: {error}", first_bad_epoch=None)
    told = f"{path}: could not {doing}: {error}"
    if doing in {"open", "read"}:
        return StorageFailed(told)
    return StorageFailed(
        f"{told}. If this was a commit, its outcome is unknown until the file is opened again"
    )
