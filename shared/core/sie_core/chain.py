"""The chain: which entry may follow which.

*pure.* A position is (log id, epoch, hash, digest): equal epochs alone prove nothing. Promises that
only the one entry that the writer linked to a position is its successor. The hash of an entry over
its bytes is checked where an `Entry` is made; here is checked how entries hang together.
"""

from typing import Final

from msgspec import Struct

from sie_schemas.entry import GENESIS_HASH, Change, ChangeKind, Entry, Supersedes, log_id8

__all__ = [
    "ChainBroken",
    "Position",
    "begins_log",
    "check_successor",
    "is_of_lineage",
    "position_of",
]


_OF_LINEAGE: Final = frozenset({ChangeKind.LOG_BEGIN, ChangeKind.KEY_PUT})


class ChainBroken(ValueError):
    """An entry does not follow the position that it was offered to."""


class Position(Struct, frozen=True, gc=False):
    """A place in a log, and the proof of the state there."""

    log_id: str
    epoch: int
    hash: str
    digest: str
    term: int

    def __str__(self) -> str:
        return f"{log_id8(self.log_id)}.{self.epoch}"


def position_of(entry: Entry) -> Position:
    """The position after an entry."""
    return Position(entry.log_id, entry.epoch, entry.hash, entry.state_digest, entry.term)


def begins_log(entry: Entry) -> Change | None:
    """The `log.begin` change of an entry that opens a log, else None."""
    for change in entry.changes:
        if change.kind == ChangeKind.LOG_BEGIN:
            return change
    return None


def is_of_lineage(entry: Entry) -> bool:
    """True if an entry says who writes: it begins a log, or brings a key."""
    return not _OF_LINEAGE.isdisjoint([change.kind for change in entry.changes])


def check_successor(last: Position | None, entry: Entry) -> None:
    """Check that `entry` follows `last` (None: it is the first of all). Raises `ChainBroken`.

    Dense epochs, linked hashes, one log id, terms that never fall; a new log id only through a
    `log.begin` that supersedes exactly `last`.
    """
    if last is None:
        _check_first(entry)
        return
    if entry.epoch != last.epoch + 1:
        raise ChainBroken(f"epoch {entry.epoch} does not follow epoch {last.epoch}")
    if entry.prev_hash != last.hash:
        raise ChainBroken(f"epoch {entry.epoch} is linked to another epoch {last.epoch}")
    # Against the entry before it alone, and not the newest tenure: what a zombie wrote while its
    # successor began has an older term, and may have been acknowledged.
    if entry.term < last.term:
        raise ChainBroken(f"epoch {entry.epoch} is of term {entry.term}, after term {last.term}")
    # A new log that only had another id would pass for this one to whoever compares epochs alone.
    begin = begins_log(entry)
    if (entry.log_id != last.log_id) != (begin is not None):
        raise ChainBroken(f"epoch {entry.epoch} changes the log id without beginning a log")
    if begin is not None:
        _check_supersedes(begin.supersedes, last, entry.epoch)


def _check_first(entry: Entry) -> None:
    begin = begins_log(entry)
    if entry.epoch != 1 or entry.prev_hash != GENESIS_HASH:
        raise ChainBroken(f"epoch {entry.epoch} is not the first of a log")
    if begin is None or begin.supersedes is not None:
        raise ChainBroken("epoch 1 does not begin a log")


def _check_supersedes(older: Supersedes | None, last: Position, epoch: int) -> None:
    if older is None or (older.log_id, older.epoch, older.hash) != (
        last.log_id,
        last.epoch,
        last.hash,
    ):
        raise ChainBroken(f"epoch {epoch} begins a log that does not supersede this one")
