"""A recorded history: a log as `sie log entries` writes it, checked before it is used.

*shell.* Reads NDJSON, one envelope a line. Promises that what it gives is one whole log from its
first epoch. Hashes, links and digests are checked, and the fold is held against a naive one with
plain dicts. A history that fails is refused with the line that fails; nothing of it is skipped.
"""

from pathlib import Path

from sie_core.apply import ChangeRefused, apply
from sie_core.chain import ChainBroken, Position, check_successor, position_of
from sie_core.registry import Registry
from sie_schemas.entry import Entry, EntryCorrupt, Stub, parse_envelope
from sie_schemas.errors import FixRequest
from sie_testing.simulation.truth import Truth

__all__ = ["read_history"]


def read_history(path: Path) -> tuple[Entry, ...]:
    """Read and check a history. Raises `FixRequest`, naming the line."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise FixRequest(f"{path} cannot be read: {error}") from error
    truth = Truth()
    position: Position | None = None
    registry = Registry.EMPTY
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = _whole(line)
            check_successor(position, entry)
            registry = apply(registry, entry)
        except (EntryCorrupt, ChainBroken, ChangeRefused) as error:
            raise FixRequest(f"{path}, line {number}: {error}") from error
        truth.committed([entry])
        held = {(e.kind, e.key): (e.modified_epoch, e.document) for e in registry}
        if registry.digest != entry.state_digest or held != truth.states[entry.hash]:
            raise FixRequest(f"{path}, line {number}: epoch {entry.epoch} has another digest")
        position = position_of(entry)
        entries.append(entry)
    if not entries:
        raise FixRequest(f"{path} holds no entry; `sie log entries` writes a log as NDJSON")
    return tuple(entries)


def _whole(line: bytes) -> Entry:
    entry = parse_envelope(line)
    if isinstance(entry, Stub):
        raise EntryCorrupt(f"epoch {entry.epoch} is a stub; export the log over HTTP")
    return entry
