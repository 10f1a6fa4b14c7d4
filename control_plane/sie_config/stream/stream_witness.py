"""The claim that a stream makes: the newest position on it that a key of the log signed.

*shell.* Reads a stream and changes nothing. Promises that an entry which no key of the log signed
is evidence of nothing, whoever put it there. A stream of this log which has lost its entries is
evidence that they were: nobody but sie-config may make one.
"""

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from sie_config.keys.log_keys import LogKeys
from sie_config.log.witnesses import Claim
from sie_core.chain import Position, begins_log
from sie_runtime.streams.log_stream import StreamTip
from sie_schemas.entry import Entry, EntryCorrupt, Stub, parse_envelope

__all__ = [
    "Stream",
    "entry_in",
    "newest_claim",
    "older_logs",
    "signed_at",
    "superseded_at",
    "what_was_there",
]

_LOG: Final = logging.getLogger(__name__)
_LOOK_MAX: Final = 16
"""Messages looked at from one end: each is a question to the broker."""

_OLDER_MAX: Final = 100
"""Older logs that a stream names: five kilobytes, of the 128 that the broker takes."""


class Stream(Protocol):
    """One log's stream: `sie_runtime.streams.log_stream.LogStream`, or one in memory."""

    async def ensure(self, *, first_epoch: int, metadata: dict[str, str]) -> StreamTip:
        """Make it if it is not there."""

    async def tip(self) -> StreamTip | None:
        """The epochs at which it begins and ends."""

    async def append(self, epoch: int, data: bytes) -> None:
        """Store at this sequence. Raises `WrongLastSequence` or `BusUnavailable`."""

    async def read(self, epoch: int) -> bytes | None:
        """The message at a sequence."""

    async def read_range(self, after: int, until: int) -> list[bytes]:
        """The messages after one sequence up to another, up to the first that is not there."""

    async def trim(self, first_epoch: int) -> StreamTip:
        """Drop what is older; nobody appends meanwhile."""

    async def recreate(self, *, first_epoch: int, metadata: dict[str, str]) -> StreamTip:
        """Delete it and make it anew."""


async def newest_claim(
    stream: Stream, tip: StreamTip, head: Position, keys: LogKeys
) -> Claim | None:
    """The farthest signed position on a stream; what somebody else wrote after it does not hide it.

    Raises `BusUnavailable`.
    """
    # From the end backwards: whoever may publish on the subject can put messages behind ours, and
    # these must not hide what was signed before them.
    for epoch in range(tip.last, max(tip.first, tip.last - _LOOK_MAX + 1) - 1, -1):
        found = await signed_at(stream, epoch, head.log_id, keys)
        if found is not None:
            return Claim("the stream", found.log_id, found.epoch, found.hash, proof=found)
    return what_was_there(tip, head)


def what_was_there(tip: StreamTip, head: Position) -> Claim | None:
    """The claim of an empty stream, by where it begins: entries past this head were on it once."""
    if tip.last >= tip.first or tip.last <= head.epoch:
        return None
    base_epoch, base_hash = tip.metadata.get("base_epoch"), tip.metadata.get("base_hash", "")
    known = base_epoch == str(tip.last)
    return Claim("the stream", head.log_id, tip.last, base_hash if known else "")


def entry_in(data: bytes | None) -> Entry | Stub | None:
    """The entry of a message; None where there is no message, or it is no entry."""
    try:
        return parse_envelope(data) if data is not None else None
    except EntryCorrupt as error:
        _LOG.warning("the stream holds what is no entry", extra={"reason": str(error)})
        return None


async def signed_at(stream: Stream, epoch: int, log_id: str, keys: LogKeys) -> Entry | Stub | None:
    """The entry of this log at a sequence, if a key of the log signed it."""
    found = entry_in(await stream.read(epoch))
    if found is None or (found.log_id, found.epoch) != (log_id, epoch):
        return None
    return found if keys.vouches_for(found) else None


def older_logs(lineage: Sequence[Entry]) -> str:
    """Every log that a log continues and the epoch up to which, as its stream names them.

    The newest is first: older releases read that one alone.
    """
    begins = [begin for entry in lineage if (begin := begins_log(entry)) is not None]
    older = [begin.supersedes for begin in begins if begin.supersedes is not None]
    return " ".join(f"{each.log_id}.{each.epoch}" for each in older[: -_OLDER_MAX - 1 : -1])


def superseded_at(tip: StreamTip, log_id: str) -> str:
    """The epoch up to which a stream's log continues another; empty where it does not."""
    for older in tip.metadata.get("supersedes", "").split():
        name, _, epoch = older.partition(".")
        if name == log_id:
            return epoch
    return ""
