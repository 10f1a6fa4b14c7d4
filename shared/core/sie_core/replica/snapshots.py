"""Snapshots as a replica judges them: when one is wanted, may be followed, and can be read.

*pure.* Whether the trusted key signed one is for `trust`.
"""

from typing import Final

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_schemas.entry import ENTITY_KINDS, ENTRY_VERSION
from sie_schemas.fleet import Head
from sie_schemas.snapshot import Snapshot

__all__ = ["UNSIGNED_LOG", "refusal", "registry_of", "unreadable", "why_snapshot"]

UNSIGNED_LOG: Final = (
    "the writer's log is another one, and the key that is trusted here did not sign it. If its key "
    "was lost and a new log begun on purpose: `sie replica resync`, or pin the new key"
)


def refusal(snapshot: Snapshot, here: Position) -> str:
    """The reason why a snapshot of another log may not be followed from here; empty if it may."""
    for begin in snapshot.lineage:
        for change in begin.changes:
            older = change.supersedes
            if older is None or older.log_id != here.log_id:
                continue
            if here.epoch == older.epoch and here.hash != older.hash:
                return f"log {snapshot.entry.log_id[:8]} supersedes another history of this log"
            return ""
    return (
        f"log {snapshot.entry.log_id[:8]} does not supersede log {here.log_id[:8]}, "
        "which is followed here"
    )


def why_snapshot(
    here: Position | None, head: Head | None, received: int, delta_entries_max: int
) -> str:
    """The reason to want a snapshot and not the entries up to `received`; empty if there is none.

    `head` is what the writer last announced.
    """
    if here is None:
        return "boot" if received or head is not None else ""
    behind = received - here.epoch
    # One snapshot costs less than so many entries, one by one folded and checked.
    if behind > delta_entries_max:
        return "far behind"
    if behind > 0 and head is not None and head.low_water > here.epoch + 1:
        return "below low water"
    return ""


def unreadable(snapshot: Snapshot) -> str:
    """The part of a snapshot that this release cannot read; empty if it reads all."""
    unread = {row.kind for row in snapshot.entities} - set(ENTITY_KINDS)
    if unread or snapshot.entry.v != ENTRY_VERSION:
        return ", ".join(sorted(unread)) or f"entries of version {snapshot.entry.v}"
    return ""


def registry_of(snapshot: Snapshot) -> Registry:
    """The registry that a snapshot holds, its digest not compared yet."""
    return Registry.of(
        Entity(row.kind, row.key, row.modified_epoch, bytes(row.document))
        for row in snapshot.entities
    )
