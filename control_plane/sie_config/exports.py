"""Exports: the snapshot of the head as bytes, joined and never re-serialised.

*shell.* Owns the rows of the newest snapshot and its bytes. Promises that equal positions give
equal bytes, that a snapshot is made once however many ask for it, and that making one does not hold
up the loop on which writes are answered.
"""

import asyncio
from collections.abc import Sequence

from sie_core.registry import EntityId, Registry
from sie_schemas import snapshot
from sie_schemas.entry import Entry

__all__ = ["Exports"]


class Exports:
    """The snapshots of one log, the newest kept."""

    def __init__(self) -> None:
        self._rows: dict[EntityId, tuple[int, bytes]] = {}
        self._hash = ""
        self._data = b""
        self._making = asyncio.Lock()

    async def at(self, registry: Registry, lineage: Sequence[Entry], last: Entry) -> bytes:
        """The snapshot at `last`, whose registry and lineage these are."""
        if self._hash != last.hash:
            async with self._making:
                if self._hash != last.hash:
                    self._data = await asyncio.to_thread(self._make, registry, lineage, last)
                    self._hash = last.hash
        return self._data

    def _make(self, registry: Registry, lineage: Sequence[Entry], last: Entry) -> bytes:
        rows: dict[EntityId, tuple[int, bytes]] = {}
        for entity in registry:
            entity_id = (entity.kind, entity.key)
            known = self._rows.get(entity_id)
            if known is None or known[0] != entity.modified_epoch:
                row = snapshot.encode_row(
                    entity.kind, entity.key, entity.modified_epoch, entity.document
                )
                known = (entity.modified_epoch, row)
            rows[entity_id] = known
        self._rows = rows
        return snapshot.encode(lineage, last, (row for _, row in rows.values()))
