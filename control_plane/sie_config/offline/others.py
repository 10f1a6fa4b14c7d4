"""Other copies: an export and the stream, held against a log that was verified.

*shell.* Reads a snapshot file, or the broker's stream of the log. Promises that what differs is
named by its first epoch, and that nothing is changed: neither the stream nor the log.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from sie_config.log.checkpoint import registry_of
from sie_config.log.storage_faults import LogDamaged
from sie_config.log.witnesses import Claim
from sie_config.offline.findings import Report
from sie_config.offline.log_reader import LogReader, NotReadable
from sie_core.chain import Position, position_of
from sie_runtime.broker.bus import Bus, BusSettings, connected_bus
from sie_runtime.follower.stored_log import StoredLog
from sie_runtime.streams.log_stream import LogStream, StreamTip
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Entry, EntryCorrupt, Stub, parse_envelope
from sie_schemas.snapshot import SnapshotCorrupt

__all__ = ["stream_after", "verify_export", "verify_stream"]

_AT_ONCE: Final = 64
"""Requests in flight to the broker: enough to hide its latency, few beside its other work."""


def verify_export(path: Path, report: Report, log: Path | None) -> Position | None:
    """Verify a snapshot file; with a log, its entry must be the log's. Raises `NotReadable`."""
    try:
        found = snapshots.decode(path.read_bytes())
    except OSError as error:
        raise NotReadable(f"{path} cannot be read: {error.strerror}") from error
    except SnapshotCorrupt as error:
        cure = "give what `sie log replay --out` or GET /v1/configs/export wrote"
        report.bad("export", str(error), cure=cure)
        return None
    entry = found.entry
    digest = registry_of(found).digest
    if digest != entry.state_digest:
        report.bad(
            "export",
            f"its entities have digest {digest[:16]}…, its entry says {entry.state_digest[:16]}…",
            epoch=entry.epoch,
        )
        return None
    report.ok("export", f"{len(found.entities)} entities with the digest of {position_of(entry)}")
    if log is not None:
        _check_is_ours(log, report, position_of(entry))
    return position_of(entry)


def _check_is_ours(log: Path, report: Report, position: Position) -> None:
    try:
        ours = _hashes(log, position.epoch, position.epoch).get(position.epoch)
    except LogDamaged as error:
        report.warn("export", f"not held against the log: {error.message}")
        return
    if ours is None:
        report.bad("export", f"the log has no epoch {position.epoch}", epoch=position.epoch)
    elif ours != position.hash:
        report.bad("export", f"the log has another epoch {position.epoch}", epoch=position.epoch)
    else:
        report.ok("export", f"its entry is the log's epoch {position.epoch}")


async def verify_stream(
    settings: BusSettings, log: Path, position: Position, report: Report
) -> None:
    """Hold every message of the log's stream against the log. Raises `BusUnavailable`."""
    async with _operator(settings) as bus:
        stream = LogStream(bus, position.log_id)
        tip = await stream.tip()
        if tip is None:
            report.bad("stream", f"the broker has no stream of log {position.log_id[:8]}")
            return
        try:
            ours = _hashes(log, tip.first, tip.last)
        except LogDamaged as error:
            report.warn("stream", f"not held against the log: {error.message}")
            return
        first_bad = await _first_difference(StoredLog(bus, position.log_id), tip, ours)
    _judge(report, tip, position, first_bad)


async def stream_after(
    settings: BusSettings, position: Position, hash_at: Callable[[int], str | None]
) -> tuple[list[Claim], list[Entry]]:
    """The claims of a log's stream after the last entry that it shares with a file, that one
    included. Beside them, its whole entries after the file's end. `hash_at` gives the file's
    hashes.

    Raises `BusUnavailable`. Nothing of it is believed yet.
    """
    async with _operator(settings) as bus:
        stream = LogStream(bus, position.log_id)
        tip = await stream.tip()
        if tip is None or tip.last < tip.first:
            return [], []
        # Read as a replica does, which is all that an operator's user may.
        stored = StoredLog(bus, position.log_id)
        first = await _last_shared(stored, tip, position.epoch, hash_at)
        messages = [data async for _, data in _read(stored, first, tip.last)]
    found = [message for data in messages if (message := _message(data)) is not None]
    claims = [Claim("the stream", one.log_id, one.epoch, one.hash, proof=one) for one in found]
    return claims, _whole(found, position.epoch)


def _operator(settings: BusSettings) -> AbstractAsyncContextManager[Bus]:
    return connected_bus(settings, role="operator", process_id="offline")


async def _last_shared(
    stream: StoredLog, tip: StreamTip, head: int, hash_at: Callable[[int], str | None]
) -> int:
    """The newest epoch that both have; the stream's first where they share none."""

    async def is_shared(epoch: int) -> bool:
        message = _message(await stream.read(epoch))
        return message is not None and message.hash == hash_at(epoch)

    low, high = tip.first, max(tip.first, min(tip.last, head))
    # Hashes are chained: everything before a shared entry is shared.
    while low < high:
        middle = (low + high + 1) // 2
        if await is_shared(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _whole(found: list[Entry | Stub], after: int) -> list[Entry]:
    """The entries that follow one another from `after` on, up to one without its body."""
    entries: list[Entry] = []
    for each in found:
        if each.epoch <= after:
            continue
        if isinstance(each, Stub):
            break
        entries.append(each)
    return entries


def _message(data: bytes | None) -> Entry | Stub | None:
    try:
        return parse_envelope(data) if data is not None else None
    except EntryCorrupt:
        return None


def _judge(report: Report, tip: StreamTip, position: Position, first_bad: int | None) -> None:
    if first_bad is not None and first_bad > position.epoch:
        report.bad(
            "stream",
            f"it goes up to {tip.last}, the log only to {position.epoch}",
            cure="start sie-config: it takes back what the stream has",
            epoch=first_bad,
        )
    elif first_bad is not None:
        report.bad(
            "stream",
            f"epoch {first_bad} on it is not the log's",
            cure="sie-config makes it anew when it starts; find out who wrote to it",
            epoch=first_bad,
        )
    elif tip.last < position.epoch:
        report.warn("stream", f"it ends at {tip.last}, the log at {position.epoch}")
    else:
        report.ok("stream", f"epochs {tip.first} to {tip.last} are the log's")


async def _first_difference(stream: StoredLog, tip: StreamTip, ours: dict[int, str]) -> int | None:
    async for epoch, data in _read(stream, tip.first, tip.last):
        message = _message(data)
        if message is None or message.hash != ours.get(epoch):
            return epoch
    return None


async def _read(
    stream: StoredLog, first: int, last: int
) -> AsyncIterator[tuple[int, bytes | None]]:
    """Every message from one sequence to another, or that there is none."""
    for start in range(first, last + 1, _AT_ONCE):
        epochs = range(start, min(start + _AT_ONCE, last + 1))
        found = await asyncio.gather(*map(stream.read, epochs))
        for epoch, data in zip(epochs, found, strict=True):
            yield epoch, data


def _hashes(log: Path, first: int, last: int) -> dict[int, str]:
    with LogReader.open(log) as reader:
        rows = reader.connection.execute(
            "SELECT epoch, hash FROM log WHERE epoch BETWEEN ? AND ?", (first, last)
        )
        return dict(rows.fetchall())
