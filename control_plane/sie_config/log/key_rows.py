"""Idempotency rows of entries that come back: the answer is a pure function of the entry.

*pure.* An entry names its key and the fingerprint of its request, so the row that was written with
it can be made again. Rows of writes that changed nothing have no entry, and are lost with the file.
"""

from collections.abc import Iterable

from sie_config.log.log_rows import KeyRow
from sie_core.apply import apply
from sie_core.registry import Registry
from sie_schemas.entry import Entry

__all__ = ["key_row_of", "key_rows_of"]


def key_row_of(entry: Entry, before: Registry) -> KeyRow | None:
    """The row of an entry, given the registry before it; None if it has no key."""
    if entry.idempotency is None:
        return None
    present: dict[tuple[str, str], bool] = {}
    created = False
    for change in entry.changes:
        entity = (change.entity_kind, change.key)
        was_there = present.get(entity, before.get(*entity) is not None)
        created = created or (change.verb == "put" and not was_there)
        present[entity] = change.verb == "put"
    return KeyRow(
        actor=entry.actor,
        key=entry.idempotency.key,
        fingerprint=entry.idempotency.fingerprint,
        epoch=entry.epoch,
        changed=True,
        created=created,
        modified_epoch=entry.epoch,
    )


def key_rows_of(entries: Iterable[Entry], before: Registry) -> list[KeyRow]:
    """The rows of successive entries, the first of which follows `before`."""
    rows: list[KeyRow] = []
    for entry in entries:
        row = key_row_of(entry, before)
        if row is not None:
            rows.append(row)
        before = apply(before, entry)
    return rows
