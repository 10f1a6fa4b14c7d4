"""The fold of a run of entries on top of what a replica has, as far as it may go.

*pure.* Promises that what went in is linked, can be read, and ends with the digest that the writer
had. What stops the run is named by what the replica then is. It is forked by another history,
halted by what this release cannot read, quarantined by what does not add up.
"""

from collections.abc import Sequence

from msgspec import Struct

from sie_core.apply import ChangeRefused, apply
from sie_core.chain import ChainBroken, Position, check_successor, position_of
from sie_core.registry import Registry
from sie_schemas.entry import Entry
from sie_schemas.fleet import ReplicaState

__all__ = ["Fault", "Folded", "digest_fault", "fold"]


class Fault(Struct, frozen=True):
    """The state that stops a replica, why, and the reason to ask for a snapshot, if it asks."""

    state: ReplicaState
    reason: str
    snapshot: str = ""


class Folded(Struct, frozen=True):
    """The entries that went in, the registry after them, and what stopped the run, if it was."""

    registry: Registry
    applied: tuple[Entry, ...]
    fault: Fault | None = None


def fold(
    position: Position | None, registry: Registry, entries: Sequence[Entry], *, digest_every: int
) -> Folded:
    """Fold entries that follow `position`. The digest, which costs the most, is compared at each
    epoch that `digest_every` divides and at the end: where that is wrong, nothing went in."""
    applied: list[Entry] = []
    fault: Fault | None = None
    after = registry
    for entry in entries:
        try:
            check_successor(position, entry)
            next_ = apply(after, entry)
        except ChainBroken as error:
            fault = _broken_link(entry, position, str(error))
            break
        except ChangeRefused as error:
            fault = (
                # Only what this release cannot read halts, and waits for an operator. Whatever else
                # cannot be folded was admitted by the writer's own fold: the registry under it is
                # bad, and a snapshot mends that.
                Fault("halted", str(error))
                if error.unknown_kind
                else digest_fault(f"epoch {entry.epoch - 1}")
            )
            break
        if entry.epoch % digest_every == 0 and next_.digest != entry.state_digest:
            fault = digest_fault(f"epoch {entry.epoch}")
            break
        after, position = next_, position_of(entry)
        applied.append(entry)
    if applied and after.digest != applied[-1].state_digest:
        return Folded(registry, (), digest_fault(f"epoch {applied[-1].epoch}"))
    return Folded(after, tuple(applied), fault)


def digest_fault(where: str) -> Fault:
    """Same bytes, another state: this memory or this code is at fault, not the log."""
    return Fault(
        "quarantined", f"the registry at {where} has not the digest that the writer had", "digest"
    )


def _broken_link(entry: Entry, position: Position | None, reason: str) -> Fault:
    if position is not None and entry.prev_hash != position.hash:
        # It was linked to another history of the epoch that stands here.
        return Fault("forked", reason)
    return Fault("quarantined", reason, "chain")
