"""Exports: the snapshot of the head as bytes, joined and never re-serialised.

*shell.* Owns the rows of the newest snapshot and its bytes. Promises:

- Equal positions give equal bytes.
- A snapshot is made once however many ask for it, and at most one is being made, even when those
  who asked are gone.
- An answer is never older than its request.
- Making one does not hold up the loop on which writes are answered.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Counter

from sie_config.past.listing import Listing
from sie_core.registry import EntityId, Registry
from sie_runtime.process.aside import Aside
from sie_schemas import snapshot
from sie_schemas.entry import Entry

__all__ = ["Export", "Exports", "Log"]

_RENDERED = Counter("sie_config_exports_rendered_total", "Snapshots that were made.")


class Log(Protocol):
    """The part of a sequencer that a snapshot is made of; the three belong together."""

    @property
    def registry(self) -> Registry:
        """The fold of the log up to `last`."""

    @property
    def lineage(self) -> tuple[Entry, ...]:
        """Every entry that begins a log."""

    @property
    def last(self) -> Entry | None:
        """The head."""


@dataclass(frozen=True, slots=True)
class Export:
    """A snapshot's bytes, and the epoch and hash of its last entry."""

    epoch: int
    hash: str
    data: bytes


class Exports:
    """The snapshots of one log, the newest kept."""

    def __init__(self) -> None:
        self._listing = Listing()
        self._rows: dict[EntityId, bytes] = {}
        self._made: Export | None = None
        self._making: asyncio.Task[None] | None = None
        self._thread = Aside("exports")
        self.rendered = 0
        """Snapshots that were made: fewer than answers where many asked at once."""

    async def newest(self, log: Log) -> Export:
        """A snapshot at the head, or at a later one if the log moves on meanwhile."""
        assert log.last is not None, "a log that has not begun is not served"
        wanted = log.last.epoch
        # A snapshot that was being made before this request may be too old for it; the next one,
        # shared by all who wait, is not.
        while self._made is None or self._made.epoch < wanted:
            if self._making is None:
                self._making = asyncio.get_running_loop().create_task(self._make(log))
                self._making.add_done_callback(_heard)
            # Who asked first may leave; the others wait for the same one.
            await asyncio.shield(self._making)
        return self._made

    def close(self) -> None:
        """Make no more."""
        self._thread.end()

    async def _make(self, log: Log) -> None:
        registry, lineage, last = log.registry, log.lineage, log.last
        assert last is not None
        try:
            data = await self._thread.run(self._join, registry, lineage, last)
        finally:
            # Here and not in a callback: whoever comes next must not wait for what is over.
            self._making = None
        self._made = Export(last.epoch, last.hash, data)
        self.rendered += 1
        _RENDERED.inc()

    def _join(self, registry: Registry, lineage: Sequence[Entry], last: Entry) -> bytes:
        for entity_id, entity in self._listing.follow(registry).items():
            if entity is None:
                del self._rows[entity_id]
            else:
                self._rows[entity_id] = snapshot.encode_row(
                    entity.kind, entity.key, entity.modified_epoch, entity.document
                )
        return snapshot.encode(lineage, last, map(self._rows.__getitem__, self._listing.ids()))


def _heard(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        # Whoever waited has the error too; if all of them left, it is nobody's.
        task.exception()
