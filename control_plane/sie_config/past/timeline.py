"""The timeline: the log read backwards from any moment of it.

*shell.* Owns one read-only connection, opened when it is first needed, and a few registries of past
epochs. Promises that what it tells of an epoch is what the log held there. An entity comes from the
entry that made it; a whole registry is compared with the digest that its entry names. Nothing here
depends on the low water: all history is kept.

A registry of the past is not folded from the beginning. The file knows every change of every
entity, so the newest put of each at or before the epoch is the registry. The digest proves it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiosqlite
from msgspec import UNSET

from sie_config.documents.moments import format_ts, moment_us, parse_ts
from sie_config.log.journal import CHUNK_ROWS
from sie_config.log.log_rows import ENTRY_COLUMNS, entry_of
from sie_config.log.schema import connect_reader
from sie_config.log.storage_faults import LogDamaged, StorageFailed
from sie_config.writer.sequencer import Sequencer
from sie_core.registry import Entity, EntityId, Registry
from sie_runtime.process.aside import Aside
from sie_schemas.entry import ENTITY_KINDS, Change, Entry, EntryCorrupt
from sie_schemas.errors import FixRequest

__all__ = ["Past", "Step", "Timeline"]

_CHUNK: Final = 400
"""Below SQLite's bound on variables of one statement (999 in its older releases)."""
_PART: Final = 400
"""Entities in one part of a bulk read."""
_NEAR_MAX: Final = 1000
"""Entries that are read to learn what they changed. In a log of a hundred thousand entries so
many take as long as a look at every change. Where that is not in memory they take less."""
_NEAR_BYTES_MAX: Final = 2 * 1024 * 1024
"""Entries that are read whole to find what they changed; a larger span asks the index."""
_ORDINALS: Final = 1 << 20
"""An epoch and a place in its entry make one number by it; no entry has so many changes."""
_EPOCH_DIGITS: Final = 17
"""One more than the longest number that an epoch may have: what is cut to it is too large."""
_SIZE: Final = "SELECT total(length(body)) FROM log WHERE epoch > ? AND epoch <= ?"
# The greatest (epoch, ordinal) of each entity; SQLite takes `kind` from that very row.
_NEWEST: Final = (
    f"SELECT entity_key, max(epoch * {_ORDINALS} + ordinal), kind FROM change"
    " WHERE entity_kind = ? AND entity_key > ? AND epoch <= ?"
    " GROUP BY entity_key HAVING kind LIKE '%.put' ORDER BY entity_key LIMIT ?"
)
# Keys of the log are listed too, and are no entities: a difference has no word for one. The plus
# keeps the kinds from the index, which seeks by the entity: else each page begins with its kind.
_TOUCHED: Final = (
    "SELECT DISTINCT entity_kind, entity_key FROM change WHERE (entity_kind, entity_key) > (?, ?)"
    f" AND epoch > ? AND epoch <= ? AND +entity_kind IN {ENTITY_KINDS}"
    " ORDER BY entity_kind, entity_key LIMIT ?"
)
_STATES: Final = (
    f"WITH wanted (kind, key) AS (VALUES {{wanted}}) SELECT (SELECT epoch * {_ORDINALS} + ordinal"
    " FROM change WHERE entity_kind = wanted.kind AND entity_key = wanted.key AND epoch <= ?"
    " ORDER BY epoch DESC, ordinal DESC LIMIT 1) FROM wanted"
)
_STEPS: Final = (
    "SELECT epoch, ordinal FROM change WHERE entity_kind = ? AND entity_key = ?"
    " AND epoch > ? AND epoch <= ? ORDER BY epoch, ordinal LIMIT ?"
)
_STEPS_REST: Final = (
    "SELECT epoch, ordinal FROM change WHERE entity_kind = ? AND entity_key = ?"
    " AND epoch = ? AND ordinal > ? ORDER BY ordinal"
)
_ENTRIES: Final = f"SELECT {ENTRY_COLUMNS} WHERE epoch IN ({{marks}})"


@dataclass(frozen=True, slots=True)
class Past:
    """A registry at an epoch, with the entry that it stands at."""

    entry: Entry
    registry: Registry


@dataclass(frozen=True, slots=True)
class Step:
    """One change of one entity. `document` None: it was removed."""

    entry: Entry
    change: Change
    document: bytes | None


class Timeline:
    """The past of one log. Made with its control plane, closed by it."""

    def __init__(
        self,
        path: Path,
        sequencer: Sequencer,
        *,
        registries_max: int,
        now_us: Callable[[], int],
        near_max: int = _NEAR_MAX,
    ) -> None:
        """`now_us` is the wall clock: what is later than it and the newest entry is refused.

        `near_max` entries are read to learn what they changed; of more the index is looked through.
        """
        self._near_max = near_max
        self._now_us = now_us
        self._path = path
        self._sequencer = sequencer
        self._registries_max = registries_max
        self._past: OrderedDict[str, Registry] = OrderedDict()
        # Two questions at once would open two connections, and `close` knows of one.
        self._opening = asyncio.Lock()
        self._thread = Aside("past")
        self._connection: aiosqlite.Connection | None = None

    async def epoch_at(self, at: str) -> int:
        """The epoch that `at` names: digits, or an RFC 3339 time with its offset.

        A time means the last entry at or before it. Raises `FixRequest`: 400 for what is no epoch
        or time, or is in the future; 404 for a time before the log began.
        """
        head = self._sequencer.position.epoch
        if at.isascii() and at.isdigit():
            # Cut behind its noughts: the first digits of a longer number are another epoch.
            digits = at.lstrip("0")[:_EPOCH_DIGITS] or "0"
            epoch = int(digits)
            if not 1 <= epoch <= head:
                raise FixRequest(f"epochs are 1 to {head}, not {digits}", field="at")
            return epoch
        moment = moment_us(at, field="at", wanted="an epoch, or a time")
        newest = self._sequencer.last
        written = parse_ts(newest.ts) if newest is not None else 0
        # A clock that was set back is behind what it once wrote.
        if moment > max(self._now_us(), written):
            raise FixRequest(f"{at} is in the future", field="at")
        epoch = await self.last_at(format_ts(moment))
        if epoch == 0:
            raise FixRequest(f"the log begins after {at}", code="NOT_FOUND", field="at")
        return epoch

    async def last_at(self, ts: str) -> int:
        """The newest epoch whose time is at or before this one; 0 where the log begins later."""
        newest = self._sequencer.last
        if newest is not None and newest.ts <= ts:
            return newest.epoch
        # Times rise with epochs, so a search by halves needs no index on them.
        low, high = 0, self._sequencer.position.epoch
        while low < high:
            middle = (low + high + 1) // 2
            rows = await self._rows("SELECT ts FROM log WHERE epoch = ?", (middle,))
            low, high = (middle, high) if rows and rows[0][0] <= ts else (low, middle - 1)
        return low

    async def entry(self, epoch: int) -> Entry:
        """One entry. Raises `LogDamaged`."""
        return (await self.entries([epoch]))[epoch]

    async def past(self, epoch: int) -> Past:
        """The registry at an epoch. Raises `LogDamaged` when its digest is not the entry's."""
        head, registry = self._sequencer.last, self._sequencer.registry
        if head is not None and epoch == head.epoch:
            return Past(head, registry)
        entry = await self.entry(epoch)
        if entry.hash not in self._past:
            async for _ in self.parts(entry):
                pass
        self._past.move_to_end(entry.hash)
        return Past(entry, self._past[entry.hash])

    async def parts(self, entry: Entry) -> AsyncIterator[Sequence[Entity]]:
        """The registry at an entry, by kind and key, in parts.

        Raises `LogDamaged` after the last part when its digest is not the entry's.
        """
        known = self._past.get(entry.hash)
        if known is not None:
            everything = list(known)
            for start in range(0, len(everything), _PART):
                yield everything[start : start + _PART]
            return
        found: list[Entity] = []
        for kind in sorted(ENTITY_KINDS):
            # Given out before it is proved: waiting for the digest, an export had its first byte
            # after half a second. One that does not add up breaks off.
            async for part in self.pages(kind, entry.epoch):
                found += part
                yield part
        # Hashing thousands of entities would hold up the loop on which writes are answered.
        registry, digest = await self._thread.run(_gathered, found)
        if digest != entry.state_digest:
            raise LogDamaged(
                f"the changes up to epoch {entry.epoch} do not add up to its digest",
                first_bad_epoch=None,
            )
        self._past[entry.hash] = registry
        while len(self._past) > max(1, self._registries_max):
            self._past.popitem(last=False)

    async def pages(
        self, kind: str, epoch: int, *, after: str = "", limit: int | None = None
    ) -> AsyncIterator[list[Entity]]:
        """The entities of a kind as they were at an epoch, by key, in parts; at most `limit`."""
        left = limit
        while left is None or left > 0:
            wanted = _PART if left is None else min(_PART, left)
            part = await self.page(kind, epoch, after=after, limit=wanted)
            if part:
                yield part
            if len(part) < wanted:
                return
            after = part[-1].key
            left = None if left is None else left - len(part)

    async def touched(
        self, first: int, last: int, *, after: EntityId, limit: int
    ) -> list[EntityId]:
        """The first entities after one, by kind and key, that entries in (first, last] changed."""
        if last - first <= self._near_max:
            [(size,)] = await self._rows(_SIZE, (first, last))
            if size <= _NEAR_BYTES_MAX:
                entries = await self.entries(range(first + 1, last + 1))
                return _touched_by(entries.values(), after)[:limit]
        rows = await self._rows(_TOUCHED, (*after, first, last, limit))
        return [(kind, key) for kind, key in rows]

    async def states(self, ids: Sequence[EntityId], epoch: int) -> Registry:
        """These entities as they were at an epoch, those that were there."""
        wanted = ",".join(["(?,?)"] * len(ids))
        named = [text for entity_id in ids for text in entity_id]
        rows = await self._rows(_STATES.format(wanted=wanted), (*named, epoch))
        places = {
            entity_id: divmod(place, _ORDINALS)
            for entity_id, (place,) in zip(ids, rows, strict=True)
            if place is not None
        }
        entries = await self.entries({made for made, _ in places.values()})
        changes = [
            (_change(entries[made], ordinal, *entity_id), made)
            for entity_id, (made, ordinal) in places.items()
        ]
        return Registry.of([_entity(each, made) for each, made in changes if each.verb == "put"])

    async def page(self, kind: str, epoch: int, *, after: str, limit: int) -> list[Entity]:
        """The first entities of a kind after a key, as they were at an epoch."""
        rows = await self._rows(_NEWEST, (kind, after, epoch, limit))
        places = {key: divmod(place, _ORDINALS) for key, place, _ in rows}
        entries = await self.entries({made for made, _ in places.values()})
        return [
            _entity(_change(entries[made], ordinal, kind, key), made)
            for key, (made, ordinal) in places.items()
        ]

    async def entity(self, kind: str, key: str, epoch: int) -> Entity | None:
        """One entity as it was at an epoch; None where it was absent."""
        rows = await self._rows(
            "SELECT epoch, ordinal FROM change WHERE entity_kind = ? AND entity_key = ?"
            " AND epoch <= ? ORDER BY epoch DESC, ordinal DESC LIMIT 1",
            (kind, key, epoch),
        )
        if not rows:
            return None
        made, ordinal = rows[0]
        change = _change(await self.entry(made), ordinal, kind, key)
        return _entity(change, made) if change.verb == "put" else None

    async def steps(
        self, kind: str, key: str, *, after: int = 0, until: int, limit: int
    ) -> list[Step]:
        """The first changes of one entity in (after, until], oldest first.

        All of the last entry's, though it be more than `limit`: a batch may name an entity twice.
        """
        rows = await self._rows(_STEPS, (kind, key, after, until, limit))
        if len(rows) == limit:
            last, ordinal = rows[-1]
            rows += await self._rows(_STEPS_REST, (kind, key, last, ordinal))
        entries = await self.entries({epoch for epoch, _ in rows})
        return [_step(entries[epoch], ordinal, kind, key) for epoch, ordinal in rows]

    async def newest_first(
        self, where: str, parameters: Sequence[Any], *, first: int, last: int, limit: int
    ) -> list[Entry]:
        """The newest entries in [first, last] that a condition on the log's columns picks."""
        rows = await self._rows(
            "SELECT epoch FROM log WHERE epoch >= ? AND epoch <= ?"
            f" AND {where} ORDER BY epoch DESC LIMIT ?",
            (first, last, *parameters, limit),
        )
        entries = await self.entries([epoch for (epoch,) in rows])
        return [entries[epoch] for (epoch,) in rows]

    async def entries(self, epochs: Iterable[int]) -> dict[int, Entry]:
        """Entries by epoch, each verified. Raises `LogDamaged`."""
        wanted = sorted(epochs)
        found: dict[int, Entry] = {}
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            rows = await self._rows(_ENTRIES.format(marks=",".join("?" * len(part))), part)
            try:
                # Parsing and hashing many entries would hold up the loop that answers writes.
                read = await self._thread.run(_parsed, rows)
                found.update((entry.epoch, entry) for entry in read)
            except EntryCorrupt as error:
                raise LogDamaged(
                    f"an entry of the past cannot be read back: {error}", first_bad_epoch=None
                ) from error
        missing = [epoch for epoch in wanted if epoch not in found]
        if missing:
            raise LogDamaged(f"epoch {missing[0]} is not in the file", first_bad_epoch=missing[0])
        return found

    async def close(self) -> None:
        """Close the connection, if it was ever wanted."""
        self._thread.end()
        if self._connection is not None:
            await self._connection.close()

    async def _rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            connection = await self._connected()
            return [tuple(row) for row in await connection.execute_fetchall(sql, parameters)]
        except aiosqlite.Error as error:
            raise StorageFailed(f"the past could not be read: {error}") from error

    async def _connected(self) -> aiosqlite.Connection:
        async with self._opening:
            if self._connection is None:
                opened = aiosqlite.Connection(lambda: connect_reader(self._path), CHUNK_ROWS)
                self._connection = await opened
        return self._connection


def _touched_by(entries: Iterable[Entry], after: EntityId) -> list[EntityId]:
    found = {(c.entity_kind, c.key) for entry in entries for c in entry.changes}
    return sorted(each for each in found if each[0] in ENTITY_KINDS and each > after)


def _gathered(entities: Sequence[Entity]) -> tuple[Registry, str]:
    registry = Registry.of(entities)
    return registry, registry.digest


def _parsed(rows: Sequence[tuple[Any, ...]]) -> list[Entry]:
    return [entry_of(row) for row in rows]


def _entity(change: Change, epoch: int) -> Entity:
    assert change.document is not UNSET
    return Entity(change.entity_kind, change.key, epoch, bytes(change.document))


def _change(entry: Entry, ordinal: int, kind: str, key: str) -> Change:
    """The change that a row of the file lists under an entity; the entry is the proof of it."""
    found = entry.changes[ordinal] if 0 <= ordinal < len(entry.changes) else None
    if found is None or (found.entity_kind, found.key) != (kind, key):
        raise LogDamaged(
            f"epoch {entry.epoch} did not change the {kind} {key}, though the file lists it there: "
            "`sie verify` says more",
            first_bad_epoch=None,
        )
    return found


def _step(entry: Entry, ordinal: int, kind: str, key: str) -> Step:
    change = _change(entry, ordinal, kind, key)
    document = None if change.document is UNSET else bytes(change.document)
    return Step(entry, change, document)
