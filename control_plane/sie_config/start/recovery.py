"""Recovery: taking back entries that this file lost and somebody still has.

*shell.* Asks the stream and the tails of replicas. Promises that an entry is written to the file
only if a key of the log vouches for it. It must hang on the file's own chain, hash for hash and
digest for digest. A source that offers anything else is left aside. Does not decide whether the
file may be written afterwards.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from sie_config.stream.stream_witness import Stream
from sie_config.writer.sequencer import Sequencer
from sie_core.apply import ChangeRefused, apply
from sie_core.chain import ChainBroken, check_successor, position_of
from sie_core.registry import Registry
from sie_schemas.entry import Entry, EntryCorrupt, Stub, parse_envelope
from sie_schemas.errors import SIEError

__all__ = ["Requests", "reclaim"]

_LOG: Final = logging.getLogger(__name__)
_PAGE: Final = 500
"""Entries asked for at a time; the answer stays below the broker's largest message."""
_ASKED_MAX: Final = 16
"""Replicas hold the same bytes: sixteen that fail alike mean that nobody has them."""
_FRAGMENTS_MAX: Final = 1024
"""Ends a replica that would send fragments for ever."""


class Requests(Protocol):
    """The part of a bus that asks and waits for one answer."""

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The answer to a message."""


async def reclaim(
    sequencer: Sequencer,
    *,
    until: int,
    stream: Stream | None,
    bus: Requests | None,
    replicas: Callable[[], Sequence[tuple[str, str]]],
    timeout_s: float,
) -> None:
    """Bring the log up to `until`, as far as what is found allows.

    `replicas` gives those who may hold entries, the likeliest first. Only the first few are asked,
    because each that does not answer costs `timeout_s`.
    """
    while sequencer.position.epoch < until:
        before = sequencer.position.epoch
        if stream is not None:
            await _adopt(sequencer, await _from_stream(stream, before, until))
        # Replicas after the stream, and whoever may have something: the files of one whose snapshot
        # was damaged hold more than it serves. Seed 3726 of the simulation lost entries to that.
        if bus is not None and sequencer.position.epoch == before:
            for role, replica in replicas()[:_ASKED_MAX]:
                offered = await _from_replica(bus, role, replica, before, until, timeout_s)
                if await _adopt(sequencer, offered):
                    break
        if sequencer.position.epoch == before:
            return


async def _from_stream(stream: Stream, after: int, until: int) -> list[Entry]:
    found: list[Entry] = []
    try:
        for data in await stream.read_range(after, min(until, after + _PAGE)):
            entry = parse_envelope(data)
            if isinstance(entry, Stub):
                break
            found.append(entry)
    except (SIEError, EntryCorrupt) as error:
        _LOG.warning("the stream gave back no entry", extra={"reason": str(error)})
    return found


async def _from_replica(
    bus: Requests, role: str, replica: str, after: int, until: int, timeout_s: float
) -> list[Entry]:
    wanted = {"after": after, "until": min(until, after + _PAGE)}
    subject = f"sie.config.tail.{role}.{replica}"
    try:
        lines = await _answer(bus, subject, wanted, timeout_s)
    except (SIEError, EntryCorrupt) as error:
        _LOG.warning("%s %s gave back no entry", role, replica, extra={"reason": str(error)})
        return []
    return [entry for entry in lines if isinstance(entry, Entry)]


async def _answer(
    bus: Requests, subject: str, wanted: dict[str, int], timeout_s: float
) -> list[Entry | Stub]:
    """Whole lines; or one line that is longer than a message, which comes in parts."""
    answer = b""
    for _ in range(_FRAGMENTS_MAX):
        request = msgspec.json.encode(wanted | {"offset": len(answer)})
        part = await bus.request(subject, request, timeout_s=timeout_s)
        answer += part
        try:
            return [parse_envelope(line) for line in answer.splitlines()]
        except EntryCorrupt:
            if not part or b"\n" in answer:
                raise
    raise EntryCorrupt(f"{subject} gave no end to an entry")


async def _adopt(sequencer: Sequencer, offered: Sequence[Entry]) -> bool:
    position, registry = sequencer.position, sequencer.registry
    taken: list[Entry] = []
    for entry in sequencer.log_keys.trust.proven(offered):
        try:
            check_successor(position, entry)
            registry = _folded(registry, entry)
        except (ChainBroken, ChangeRefused) as error:
            _LOG.warning("an offered entry is refused", extra={"reason": str(error)})
            break
        position = position_of(entry)
        taken.append(entry)
    if taken:
        await sequencer.adopt(taken, registry)
        _LOG.warning("took back lost entries", extra={"epochs": len(taken), "head": str(position)})
    return bool(taken)


def _folded(registry: Registry, entry: Entry) -> Registry:
    after = apply(registry, entry)
    if after.digest != entry.state_digest:
        raise ChangeRefused(f"epoch {entry.epoch} folds to another digest than its writer had")
    return after
