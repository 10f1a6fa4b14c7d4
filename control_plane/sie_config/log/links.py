"""Links: the chain of a log file's rows, checked by hashing bodies and decoding none of them.

*shell.* Reads through a connection that somebody else owns. Promises that every row up to an epoch
is there, that its body has the hash that the row says, and that the links hold. With one entry of
the range known to be right, all of it is. What the entries mean, and whether their digests hold, is
for the fold.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from sie_schemas.entry import GENESIS_HASH, entry_hash

__all__ = ["LinkBroken", "Links", "check_links"]

_ROWS: Final = (
    "SELECT epoch, hash, prev_hash, log_id, body FROM log"
    " WHERE epoch > ? AND epoch <= ? ORDER BY epoch"
)
_PAGE: Final = 1000
"""Rows in memory at a time: a log of any length is checked in a few MiB."""


class LinkBroken(ValueError):
    """The chain ends before the range does; `epoch` is the first bad one."""

    def __init__(self, epoch: int, message: str) -> None:
        super().__init__(message)
        self.epoch = epoch


@dataclass(frozen=True, slots=True)
class Links:
    """A range of rows that hang together. `begins` are epoch and hash of rows that begin a log
    id."""

    epoch: int
    hash: str
    begins: tuple[tuple[int, str], ...]


def check_links(connection: sqlite3.Connection, until: int) -> Links:
    """Check the rows 1 to `until`. Raises `LinkBroken`, or `sqlite3.Error` for a torn page."""
    epoch, last, log_id = 0, GENESIS_HASH, ""
    begins: list[tuple[int, str]] = []
    while epoch < until:
        rows = connection.execute(_ROWS, (epoch, min(until, epoch + _PAGE))).fetchall()
        if not rows:
            raise LinkBroken(epoch + 1, "there is no such row")
        for number, claimed, prev_hash, row_log_id, body in rows:
            epoch += 1
            if number != epoch:
                raise LinkBroken(epoch, "there is no such row")
            if prev_hash != last:
                raise LinkBroken(epoch, "it is not linked to the row before it")
            last = entry_hash(body) if isinstance(body, bytes) else ""
            if claimed != last:
                raise LinkBroken(epoch, "its body has another hash")
            if row_log_id != log_id:
                log_id = row_log_id
                begins.append((epoch, last))
    return Links(epoch, last, tuple(begins))
