"""The fold: one entry, one step of the registry.

*pure.* Frozen for entries of `v` 1: a later release may add kinds, and never changes what an old
entry does. Total on admitted entries: the writer runs this very code before it commits, so an entry
of the log can always be applied. A replica that cannot read its kind halts and says so. One for
which something is missing has a damaged registry. What may be *written* is a different question,
answered by the writer's rules, which may change in any release.

Changes of one entry take effect in order; a later one sees what an earlier one did.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from sie_core.registry import Entity, EntityId, Registry
from sie_schemas.entry import ENTITY_KINDS, ENTRY_VERSION, Change, ChangeKind, Entry

__all__ = ["SPEAKS", "ChangeRefused", "apply", "preview"]

SPEAKS: Final = tuple(str(kind) for kind in ChangeKind)
"""The kinds of change that this release can fold; a follower's report carries them."""

_NO_ENTITY: Final = frozenset({ChangeKind.LOG_BEGIN, ChangeKind.TERM_BEGIN, ChangeKind.KEY_PUT})
"""Changes that say who writes; the registry is as it was."""
_KEY_BYTES_MAX: Final = 512
"""An id of the hub has 96 characters; an adapter's key holds two names."""


class ChangeRefused(ValueError):
    """A change cannot be folded. `unknown_kind` tells a newer log from a broken one."""

    def __init__(self, message: str, *, unknown_kind: bool = False) -> None:
        super().__init__(message)
        self.unknown_kind = unknown_kind


def apply(registry: Registry, entry: Entry) -> Registry:
    """The registry after an entry. Raises `ChangeRefused`, and nothing else.

    Looks at the changes alone. Whether the entry belongs here is `sie_core.chain`'s question;
    whether the result is the writer's is that of `entry.state_digest`.
    """
    if entry.v != ENTRY_VERSION:
        raise ChangeRefused(
            f"epoch {entry.epoch} is of version {entry.v}; this release reads {ENTRY_VERSION}",
            unknown_kind=True,
        )
    return preview(registry, entry.changes, entry.epoch)


def preview(registry: Registry, changes: Sequence[Change], epoch: int) -> Registry:
    """The registry after these changes at this epoch: how a writer tries what it may append."""
    pending: dict[EntityId, Entity | None] = {}
    for change in changes:
        if change.kind in _NO_ENTITY:
            continue
        entity_id = _entity_id(change, epoch)
        if change.verb == "put":
            pending[entity_id] = _put(change, epoch)
        else:
            present = pending[entity_id] if entity_id in pending else registry.get(*entity_id)
            # The writer's own fold admitted it, so whoever lacks it has lost it. A replica whose
            # memory had lost a model halted here until an operator came; now it takes a snapshot.
            if present is None:
                raise ChangeRefused(
                    f"epoch {epoch}: there is no {change.entity_kind} {change.key!r}"
                )
            pending[entity_id] = None
    return registry.with_changes(pending)


def _entity_id(change: Change, epoch: int) -> EntityId:
    kind, verb = change.entity_kind, change.verb
    if kind not in ENTITY_KINDS or verb not in {"put", "delete"}:
        raise ChangeRefused(
            f"epoch {epoch}: changes of kind {change.kind!r} are not known to this release",
            unknown_kind=True,
        )
    key = change.key
    # `surrogatepass`, because half a character would raise another error than the promised one.
    if not key or "\0" in key or len(key.encode("utf-8", "surrogatepass")) > _KEY_BYTES_MAX:
        raise ChangeRefused(f"epoch {epoch}: {change.kind} has no usable key")
    return kind, key


def _put(change: Change, epoch: int) -> Entity:
    if change.document is UNSET:
        raise ChangeRefused(f"epoch {epoch}: {change.kind} of {change.key!r} has no document")
    return Entity(change.entity_kind, change.key, epoch, bytes(change.document))
