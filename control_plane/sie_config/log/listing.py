"""The listing: the rows by which the changes of an entity are found, held to the entries.

*shell* over a connection of its own. A digest proves a whole registry of the past, and no row of a
single entity: one that is missing would show an older state. Promises to name the first epoch whose
rows are not its changes.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from sie_config.log.log_rows import LISTED_KINDS
from sie_config.log.schema import connect_reader
from sie_config.log.storage_faults import LogDamaged, translated
from sie_schemas.malformed import MALFORMED

__all__ = ["check_listing"]

_LISTED: Final = (
    "SELECT epoch, ordinal, entity_kind, entity_key, kind FROM change WHERE epoch <= ?"
    " ORDER BY epoch, ordinal"
)
_BODIES: Final = "SELECT epoch, body FROM log WHERE epoch <= ? ORDER BY epoch"


class _Change(msgspec.Struct):
    kind: str
    key: str = ""


class _Body(msgspec.Struct):
    changes: list[_Change]


_DECODER: Final = msgspec.json.Decoder(_Body)


def check_listing(path: Path, until: int) -> None:
    """Compare the rows up to an epoch. Raises `LogDamaged`, `StorageFailed`."""
    try:
        with contextlib.closing(connect_reader(path)) as connection:
            listed = connection.execute(_LISTED, (until,))
            for epoch, body in connection.execute(_BODIES, (until,)):
                if not _is_listed(epoch, body, listed):
                    raise _damaged(path, epoch)
            if (row := next(listed, None)) is not None:
                raise _damaged(path, int(row[0]))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translated(error, path, "read") from error


def _is_listed(epoch: int, body: bytes, listed: Iterator[tuple[Any, ...]]) -> bool:
    try:
        changes = _DECODER.decode(body).changes
    except MALFORMED:
        return False
    wanted = [
        (epoch, ordinal, kind, each.key, each.kind)
        for ordinal, each in enumerate(changes)
        if (kind := each.kind.partition(".")[0]) in LISTED_KINDS
    ]
    return list(islice(listed, len(wanted))) == wanted


def _damaged(path: Path, epoch: int) -> LogDamaged:
    return LogDamaged(
        f"{path}: the changes of epoch {epoch} are listed wrongly, so that the past of an entity "
        "would be told wrongly. `sie verify` says more; `sie log restore` brings the newest backup",
        first_bad_epoch=epoch,
    )
