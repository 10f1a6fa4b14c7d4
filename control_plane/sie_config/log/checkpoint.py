"""The checkpoint: the registry at an epoch, stored beside the log so that a start folds less.

*shell.* Owns the sibling file `.checkpoint`, a snapshot that is replaced whole. Promises that it is
never believed. It counts only if its entry is the log's entry of that epoch, hash for hash, and its
lineage the log's. Its entities must have the digest which that entry names. It may be removed at
any time; the next start then folds the whole log.
"""

import logging
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sie_config.log.links import LinkBroken, check_links
from sie_config.log.replay import Replayed
from sie_core.registry import Entity, Registry
from sie_schemas import snapshot as snapshots
from sie_schemas.snapshot import Snapshot, SnapshotCorrupt

__all__ = ["CheckpointFile", "registry_of", "start_from"]

_LOG: Final = logging.getLogger(__name__)


class CheckpointFile:
    """The sibling `.checkpoint` of one log file. Owner: the writer's process."""

    def __init__(self, log_path: Path) -> None:
        self.path: Final = log_path.with_name(log_path.name + ".checkpoint")
        self.epoch = 0
        """The newest epoch that this process read from it, or tried to write."""

    def read(self) -> Snapshot | None:
        """The snapshot in the file; None if there is none that can be read."""
        try:
            return snapshots.decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SnapshotCorrupt) as error:
            _LOG.warning("the checkpoint is of no use", extra={"reason": str(error)})
            return None

    def write(self, data: bytes) -> None:
        """Replace the file. Not synced: a torn one is found out. Raises `OSError`."""
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_bytes(data)
        # A crash before this line leaves the older checkpoint, from which more is folded.
        fresh.replace(self.path)


def start_from(connection: sqlite3.Connection, checkpoint: Snapshot) -> Replayed | None:
    """The point to replay from; None when the log in this connection does not bear it out."""
    entry = checkpoint.entry
    registry = registry_of(checkpoint)
    try:
        # Hashes and links of every body up to it, and no fold: a third of a second for 100,000
        # entries, since nothing is decoded. A digest that was wrong when it was written is for the
        # self-check.
        links = check_links(connection, entry.epoch)
    except (LinkBroken, sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # The fold from the beginning will meet the same row, and name it.
        _LOG.warning("the log does not bear the checkpoint out", extra={"reason": str(error)})
        return None
    lineage = _lineage(connection, links.begins, entry.epoch)
    proof = (links.hash, lineage, registry.digest)
    if proof != (entry.hash, tuple(e.hash for e in checkpoint.lineage), entry.state_digest):
        _LOG.warning("the checkpoint is not of this log", extra={"epoch": entry.epoch})
        return None
    return Replayed(registry, entry, checkpoint.lineage, None)


def _lineage(
    connection: sqlite3.Connection, begins: Iterable[tuple[int, str]], until: int
) -> tuple[str, ...]:
    """The hashes of the entries that begin a log or bring a key, oldest first."""
    keys = connection.execute(
        "SELECT epoch, hash FROM log"
        " WHERE epoch IN (SELECT epoch FROM change WHERE entity_kind = 'key' AND epoch <= ?)",
        (until,),
    )
    return tuple(hash for _, hash in sorted({*begins, *keys}))


def registry_of(snapshot: Snapshot) -> Registry:
    """The registry that a snapshot holds; whether it is true is for its digest to say."""
    return Registry.of(
        Entity(row.kind, row.key, row.modified_epoch, bytes(row.document))
        for row in snapshot.entities
    )
