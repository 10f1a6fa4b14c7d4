"""The models that an entry is about, for somebody who waits until it is in effect.

*pure.* A model that the entry puts is meant whether it is used or not. One that the entry may have
moved, by a bundle or a pool, is meant if it is asked for. Of a thousand that sleep in a pool nobody
expects a worker. What the entry takes away is not waited for.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, Raw

from sie_core.resolver import Resolver
from sie_schemas.entry import Entry

__all__ = ["About", "about"]


class _Bundle(msgspec.Struct):
    backends: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class About:
    """The changes that an entry makes to where models run."""

    models: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()
    backends: frozenset[str] = frozenset()
    """The backends that its bundles run, or ran before."""

    @property
    def moves(self) -> bool:
        """True if more than the models that it puts may have moved."""
        return bool(self.pools or self.backends)

    def model_ids(self, resolver: Resolver, asked: Iterable[str]) -> list[str]:
        """The models that have to be served for the entry to be in effect."""
        moved = (name for name in asked if name in resolver.models and self._moves(resolver, name))
        return sorted(self.models.union(moved))

    def _moves(self, resolver: Resolver, model_id: str) -> bool:
        model = resolver.models[model_id]
        return model["pool"] in self.pools or any(
            profile["backend"] in self.backends for profile in model["profiles"].values()
        )


def about(entry: Entry, earlier: Iterable[bytes | Raw]) -> About:
    """The models, pools and backends that an entry is about. `earlier` are the documents that its
    bundles had before."""
    changed: dict[str, set[str]] = {"model": set(), "pool": set(), "bundle": set()}
    bundles = list(earlier)
    for change in entry.changes:
        is_put = change.document is not UNSET
        # Nobody has to serve a model that is deleted; a pool or a bundle moves others also then.
        if change.entity_kind in changed and (is_put or change.entity_kind != "model"):
            changed[change.entity_kind].add(change.key)
        if change.entity_kind == "bundle" and change.document is not UNSET:
            bundles.append(change.document)
    return About(
        models=frozenset(changed["model"]),
        pools=frozenset(changed["pool"]),
        backends=frozenset(
            name for each in bundles for name in msgspec.json.decode(each, type=_Bundle).backends
        ),
    )
