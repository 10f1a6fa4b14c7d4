"""The seed: what a new log holds before anybody wrote to it.

*pure.* One entry brings the bundles that this release makes workers for, and the pools of the
workers that are there. So a first model can be registered and served. Where the operator wants it,
the catalog of published models is one entry more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sie_catalog.bundles import BUNDLES
from sie_catalog.first_pools import FIRST_POOLS, first_pools
from sie_catalog.offers import Choice, entry_reason, offered
from sie_schemas.documents import admit_document
from sie_schemas.entry import Change, put

__all__ = ["SEED", "FirstEntry", "first_entries", "seed"]


@dataclass(frozen=True, slots=True)
class FirstEntry:
    """One entry of a new log."""

    reason: str
    changes: Sequence[Change]


def seed(pools: Mapping[str, Sequence[str]]) -> tuple[Change, ...]:
    """The changes of the first entry, for pools and the machine profiles of each."""
    return (
        *(
            put("bundle", name, admit_document("bundle", bundle.document))
            for name, bundle in BUNDLES.items()
        ),
        *(put("pool", name, _pool(name, machines)) for name, machines in pools.items()),
    )


def _pool(name: str, machines: Sequence[str]) -> dict[str, Any]:
    words = "The first pool." if name == "default" else "A pool of the first workers."
    return admit_document(
        "pool", {"name": name, "machine_profiles": list(machines), "description": words}
    )


SEED: Final[tuple[Change, ...]] = seed(first_pools(FIRST_POOLS))
"""The changes of a new log's seed entry where nobody says more."""


def first_entries(catalog: Choice, pools: Iterable[str] = FIRST_POOLS) -> tuple[FirstEntry, ...]:
    """The entries of a new log, in their order. Raises `ValueError` for pools that are none."""
    first = FirstEntry("the first bundles and pool", seed(first_pools(pools)))
    models = [admit_document("model", document) for document in offered(catalog)]
    if not models:
        return (first,)
    changes = [put("model", model["model_id"], model) for model in models]
    return (first, FirstEntry(entry_reason(catalog), changes))
