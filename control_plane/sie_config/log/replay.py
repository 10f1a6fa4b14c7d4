"""Replay: what a log file amounts to, each digest compared on the way.

*pure.* Promises that the registry it yields is the one that the writer of every entry had. Where
that fails it stops before the first bad epoch and says so; it never skips and never repairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sie_config.log.storage_faults import LogDamaged
from sie_core.apply import ChangeRefused, apply
from sie_core.chain import is_of_lineage
from sie_core.registry import Registry
from sie_schemas.entry import Entry

__all__ = ["Replayed", "replay", "step"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A log up to its end, or up to the first bad epoch if there is `damage`."""

    registry: Registry
    last: Entry | None
    lineage: tuple[Entry, ...]
    """Every entry that begins a log or brings a key, oldest first."""
    damage: LogDamaged | None
    taken_over: int = 0
    """Epochs up to this one came from a checkpoint and were not folded."""


def replay(entries: Iterator[Entry], start: Replayed | None = None) -> Replayed:
    """Fold verified entries, which follow `start`, else are the first ones.

    Damage that the iterator raises ends the replay; it is not raised.
    """
    registry = start.registry if start is not None else Registry.EMPTY
    last = start.last if start is not None else None
    lineage = list(start.lineage) if start is not None else []
    damage: LogDamaged | None = None
    try:
        for entry in entries:
            registry = step(registry, entry)
            last = entry
            if is_of_lineage(entry):
                lineage.append(entry)
    except LogDamaged as error:
        damage = error
    taken_over = start.last.epoch if start is not None and start.last is not None else 0
    return Replayed(registry, last, tuple(lineage), damage, taken_over)


def step(registry: Registry, entry: Entry) -> Registry:
    """The registry after one entry, its digest compared. Raises `LogDamaged`."""
    try:
        after = apply(registry, entry)
    except ChangeRefused as error:
        raise LogDamaged(
            f"epoch {entry.epoch} cannot be folded: {error}", first_bad_epoch=entry.epoch
        ) from error
    if after.digest != entry.state_digest:
        raise LogDamaged(
            f"epoch {entry.epoch} folds to digest {after.digest[:16]}…, but its writer had "
            f"{entry.state_digest[:16]}…",
            first_bad_epoch=entry.epoch,
        )
    return after
