"""The configuration of a simulated world that serves: documents, and each epoch's resolver.

*pure.* Two models with two adapters each, whose revisions change with a number in their documents.
A model lies in one of two pools and is run by one of two bundles; it may be moved, and deleted.
The log itself is not simulated here: `sie_testing.simulation` does that. Every process comes to
each epoch by itself, some time after it was written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_schemas import canonical
from sie_schemas.documents import admit_document

__all__ = [
    "ADAPTERS",
    "BUNDLES",
    "FUSED",
    "LEASABLE",
    "LOG_ID",
    "MODELS",
    "POOLS",
    "PROFILE",
    "History",
    "Place",
]

LOG_ID: Final = "5e" * 16
FUSED: Final = "org/fused"
"""The model whose adapters share batches."""
MODELS: Final = (FUSED, "org/parted")
ADAPTERS: Final = ("legal", "medical")
POOLS: Final = ("default", "spare")
PROFILE: Final = "cpu"
BUNDLES: Final = {"default": "scripted", "wide": "second"}
"""Each bundle, and the one backend that it runs."""
LEASABLE: Final = 4
"""Workers that all leases of a pool may have."""
_COST: Final = 4096
"""The default of a profile, to which a version adds: each version is a revision of its own."""


@dataclass(frozen=True, slots=True)
class Place:
    """The pool of a model, and the bundle that runs it."""

    pool: str = "default"
    bundle: str = "default"

    def __str__(self) -> str:
        return f"{self.pool}/{self.bundle}"


class History:
    """The resolvers, by epoch. `name_of` says whose revision one is."""

    def __init__(self) -> None:
        self._models = dict.fromkeys(MODELS, 0)
        self._places = dict.fromkeys(MODELS, Place())
        self._deleted: dict[str, None] = {}
        self._adapters = {(model, name): 0 for model in MODELS for name in ADAPTERS}
        self.resolvers: list[Resolver] = []
        self.name_of: dict[str, str] = {}
        self._write()

    @property
    def head(self) -> Resolver:
        """The newest."""
        return self.resolvers[-1]

    def at(self, epoch: int) -> Resolver:
        """The resolver of an epoch."""
        return self.resolvers[epoch - 1]

    def change_model(self, model: str) -> Resolver:
        """A new revision of a model."""
        self._models[model] += 1
        return self._write()

    def change_adapter(self, model: str, name: str) -> Resolver:
        """A new revision of an adapter."""
        self._adapters[model, name] += 1
        return self._write()

    def move_pool(self, model: str) -> Place:
        """A model goes to the other pool."""
        here = self._places[model]
        return self._moved(model, replace(here, pool=_other(POOLS, here.pool)))

    def move_bundle(self, model: str) -> Place:
        """Another backend is to run a model, which the other bundle has."""
        here = self._places[model]
        return self._moved(model, replace(here, bundle=_other(tuple(BUNDLES), here.bundle)))

    def delete_model(self, model: str) -> bool:
        """A model and its adapters go, in one entry; False where they have gone."""
        if model in self._deleted:
            return False
        self._deleted[model] = None
        self._write()
        return True

    def put_back(self, model: str, *, changed: bool) -> bool:
        """A deleted model and its adapters are written again; False where they are there."""
        if model not in self._deleted:
            return False
        del self._deleted[model]
        self._models[model] += changed
        self._write()
        return True

    def bring_home(self) -> bool:
        """Every model is there again, in its first place; False where all are."""
        if not self._deleted and set(self._places.values()) == {Place()}:
            return False
        self._deleted.clear()
        self._places = dict.fromkeys(MODELS, Place())
        self._write()
        return True

    def lacks(self, model: str, since: int) -> bool:
        """True if a model was absent at an epoch or at one after it."""
        return any(model not in each.models for each in self.resolvers[max(0, since - 1) :])

    def _moved(self, model: str, place: Place) -> Place:
        self._places[model] = place
        self._write()
        return place

    def _write(self) -> Resolver:
        epoch = len(self.resolvers) + 1
        found = [
            _entity("bundle", name, {"name": name, "backends": [backend]})
            for name, backend in BUNDLES.items()
        ]
        found += [_entity("pool", name, {"name": name, "workers_max": LEASABLE}) for name in POOLS]
        there = [model for model in MODELS if model not in self._deleted]
        for model in there:
            version, place = self._models[model], self._places[model]
            profile = {
                "backend": BUNDLES[place.bundle],
                "batch_cost_max": _COST + version,
                "batch_items_max": 4,
                "batch_wait_ms": 5.0,
            }
            document = {
                "model_id": model,
                "pool": place.pool,
                "source": _source(0),
                "tasks": {"encode": {}},
                "profiles": {"default": profile},
            }
            found.append(_entity("model", model, document))
        for (model, name), version in self._adapters.items():
            if model in self._deleted:
                continue
            document = {"model_id": model, "name": name, "source": _source(version)}
            found.append(_entity("adapter", f"{model}/{name}", document))
        registry = Registry.of(found)
        position = Position(LOG_ID, epoch, f"{epoch:064x}", registry.digest, 1)
        resolver = Resolver.of(registry, position)
        self.resolvers.append(resolver)
        for model in there:
            self.name_of[resolver.resolve(model).revision] = model
        return resolver


def _other(names: tuple[str, ...], here: str) -> str:
    return next(name for name in names if name != here)


def _entity(kind: str, key: str, document: Mapping[str, Any]) -> Entity:
    return Entity(kind, key, 1, canonical.dumps(admit_document(kind, dict(document))))


def _source(version: int) -> dict[str, object]:
    return {
        "type": "package",
        "package": "scripted",
        "distribution": "scripted",
        "version": f"{version}",
    }
