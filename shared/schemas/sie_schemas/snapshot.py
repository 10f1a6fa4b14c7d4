"""A snapshot: a registry at an epoch, with its proof.

*types.* The bytes are a join of stored bytes: the lineage, the full last entry and one row for each
entity, none of them re-serialised. Promises that a snapshot read back from `encode` equals what
was written. Whether it is true (the digest of its entities equals the `state_digest` of its entry)
is for `sie_core.replica` to check.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw, Struct

from sie_schemas.entry import Entry, EntryCorrupt, Stub, parse_envelope, to_envelope
from sie_schemas.malformed import MALFORMED

__all__ = [
    "CLOSING",
    "EntityRow",
    "Snapshot",
    "SnapshotCorrupt",
    "decode",
    "encode",
    "encode_row",
    "opening",
]


class SnapshotCorrupt(ValueError):
    """Bytes that claim to be a snapshot are not one."""


CLOSING: Final = b"]}"
"""The bytes after the last row."""


class EntityRow(Struct, frozen=True):
    """One entity of a registry: where it was last changed, and its document's exact bytes."""

    kind: str
    key: str
    modified_epoch: int
    document: Raw


class _Snapshot(Struct, frozen=True):
    v: int
    lineage: tuple[Raw, ...]
    entry: Raw
    entities: tuple[EntityRow, ...]


_DECODER = msgspec.json.Decoder(_Snapshot)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`lineage` holds every `log.begin` entry up to `entry`, oldest first; `entry` is the last."""

    lineage: tuple[Entry, ...]
    entry: Entry
    entities: tuple[EntityRow, ...]


def encode_row(kind: str, key: str, modified_epoch: int, document: bytes) -> bytes:
    """One entity's row. The writer keeps these and joins them."""
    return (
        b'{"kind":'
        + msgspec.json.encode(kind)
        + b',"key":'
        + msgspec.json.encode(key)
        + b',"modified_epoch":%d,"document":' % modified_epoch
        + document
        + b"}"
    )


def encode(lineage: Iterable[Entry], entry: Entry, rows: Iterable[bytes]) -> bytes:
    """Join a snapshot from parts that are bytes already."""
    return opening(lineage, entry) + b",".join(rows) + CLOSING


def opening(lineage: Iterable[Entry], entry: Entry) -> bytes:
    """A snapshot up to its first row. Rows are parted by commas; then comes `CLOSING`."""
    return (
        b'{"v":1,"lineage":['
        + b",".join(to_envelope(begin) for begin in lineage)
        + b'],"entry":'
        + to_envelope(entry)
        + b',"entities":['
    )


def decode(data: bytes) -> Snapshot:
    """Read a snapshot and verify the hashes of its entries. Raises `SnapshotCorrupt`."""
    try:
        parsed = _DECODER.decode(data)
        if parsed.v != 1:
            raise SnapshotCorrupt(f"snapshot version {parsed.v} is not known to this release")
        return Snapshot(
            lineage=tuple(_full(raw) for raw in parsed.lineage),
            entry=_full(parsed.entry),
            entities=parsed.entities,
        )
    except (*MALFORMED, EntryCorrupt) as error:
        raise SnapshotCorrupt(f"the bytes are not a snapshot: {error}") from error


def _full(raw: Raw) -> Entry:
    entry = parse_envelope(raw)
    if isinstance(entry, Stub):
        raise SnapshotCorrupt(f"epoch {entry.epoch} is a stub; a snapshot holds full entries")
    return entry
