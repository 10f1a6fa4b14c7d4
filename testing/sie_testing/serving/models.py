"""The configuration of a simulated world that serves: documents, and each epoch's catalog.

*pure.* Two models with two adapters each, whose revisions change with a number in their documents.
The log itself is not simulated here: `sie_testing.simulation` does that. Every process comes to
each epoch by itself, some time after it was written.
"""

from collections.abc import Mapping
from typing import Any, Final

from sie_core.catalog import Catalog
from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_schemas import canonical
from sie_schemas.documents import admit_document

__all__ = ["ADAPTERS", "FUSED", "LOG_ID", "MODELS", "History"]

LOG_ID: Final = "5e" * 16
FUSED: Final = "org/fused"
"""The model whose adapters share batches."""
MODELS: Final = (FUSED, "org/parted")
ADAPTERS: Final = ("legal", "medical")
_COST: Final = 4096


class History:
    """The catalogs, by epoch. `name_of` says whose revision one is."""

    def __init__(self) -> None:
        self._models = dict.fromkeys(MODELS, 0)
        self._adapters = {(model, name): 0 for model in MODELS for name in ADAPTERS}
        self.catalogs: list[Catalog] = []
        self.name_of: dict[str, str] = {}
        self._write()

    @property
    def head(self) -> Catalog:
        """The newest."""
        return self.catalogs[-1]

    def at(self, epoch: int) -> Catalog:
        """The catalog of an epoch."""
        return self.catalogs[epoch - 1]

    def change_model(self, model: str) -> Catalog:
        """A new revision of a model."""
        self._models[model] += 1
        return self._write()

    def change_adapter(self, model: str, name: str) -> Catalog:
        """A new revision of an adapter."""
        self._adapters[model, name] += 1
        return self._write()

    def _write(self) -> Catalog:
        epoch = len(self.catalogs) + 1
        found = [
            _entity("bundle", "default", {"name": "default", "backends": ["scripted"]}),
            _entity("pool", "default", {"name": "default"}),
        ]
        for model, version in self._models.items():
            profile = {
                "backend": "scripted",
                "batch_cost_max": _COST + version,
                "batch_items_max": 4,
                "batch_wait_ms": 5.0,
            }
            document = {
                "model_id": model,
                "source": _source(0),
                "tasks": {"encode": {}},
                "profiles": {"default": profile},
            }
            found.append(_entity("model", model, document))
        for (model, name), version in self._adapters.items():
            document = {"model_id": model, "name": name, "source": _source(version)}
            found.append(_entity("adapter", f"{model}/{name}", document))
        registry = Registry.of(found)
        position = Position(LOG_ID, epoch, f"{epoch:064x}", registry.digest, 1)
        catalog = Catalog.of(registry, position)
        self.catalogs.append(catalog)
        for model in MODELS:
            self.name_of[catalog.resolve(model).revision] = model
        return catalog


def _entity(kind: str, key: str, document: Mapping[str, Any]) -> Entity:
    return Entity(kind, key, 1, canonical.dumps(admit_document(kind, dict(document))))


def _source(version: int) -> dict[str, object]:
    return {
        "type": "package",
        "package": "scripted",
        "distribution": "scripted",
        "version": f"{version}",
    }
