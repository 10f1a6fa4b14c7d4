"""A listing: the keys of a registry in their order, kept beside it.

*pure.* A registry has no order of its own; sorting ten thousand keys for each page would cost more
than the page. Promises that the keys are those of the registry that it was brought to last. To
bring it to the next one costs what differs between the two.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from typing import Final

from sie_core.registry import Entity, EntityId, Registry

__all__ = ["Listing"]

_MANY: Final = 1000
"""Changes from which on it is made anew: an insertion moves what stands behind it."""


class Listing:
    """The keys of each kind, sorted. One owner; not thread-safe."""

    def __init__(self, *, many: int = _MANY) -> None:
        self._many = many
        self._registry = Registry.EMPTY
        self._keys: dict[str, list[str]] = {}

    def follow(self, registry: Registry) -> dict[EntityId, Entity | None]:
        """Be the listing of this registry; gives what differs from the last, None what went."""
        changes = registry.difference(self._registry)
        if len(changes) > self._many:
            self._keys = {}
            for each in registry:
                self._keys.setdefault(each.kind, []).append(each.key)
        else:
            for (kind, key), entity in changes.items():
                self._note(kind, key, is_there=entity is not None)
        self._registry = registry
        return changes

    def ids(self) -> Iterator[EntityId]:
        """Every entity, by kind and key."""
        for kind in sorted(self._keys):
            for key in self._keys[kind]:
                yield kind, key

    def keys_after(self, kind: str, key: str, *, limit: int | None) -> Sequence[str]:
        """The keys of a kind that come after this one, at most `limit`."""
        keys = self._keys.get(kind, [])
        first = bisect_right(keys, key)
        return keys[first:] if limit is None else keys[first : first + limit]

    def _note(self, kind: str, key: str, *, is_there: bool) -> None:
        was_there = self._registry.get(kind, key) is not None
        keys = self._keys.setdefault(kind, [])
        if is_there and not was_there:
            insort(keys, key)
        elif was_there and not is_there:
            del keys[bisect_left(keys, key)]
