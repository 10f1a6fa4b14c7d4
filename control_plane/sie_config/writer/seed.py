"""The seed: what a new log holds before anybody wrote to it.

*pure.* One entry brings the bundles that this release makes workers for, and a pool on the
processor. So a first model can be registered and served. Where the operator wants it, the catalog
of published models is one entry more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sie_catalog.bundles import BUNDLES
from sie_catalog.offers import Choice, entry_reason, offered
from sie_schemas.documents import admit_document
from sie_schemas.entry import Change, put

__all__ = ["SEED", "FirstEntry", "first_entries"]


@dataclass(frozen=True, slots=True)
class FirstEntry:
    """One entry of a new log."""

    reason: str
    changes: Sequence[Change]


_POOL: Final = admit_document(
    "pool",
    {"name": "default", "machine_profiles": ["cpu"], "description": "The first pool."},
)

SEED: Final[tuple[Change, ...]] = (
    *(
        put("bundle", name, admit_document("bundle", bundle.document))
        for name, bundle in BUNDLES.items()
    ),
    put("pool", "default", _POOL),
)
"""The changes of a new log's seed entry."""


def first_entries(catalog: Choice) -> tuple[FirstEntry, ...]:
    """The entries of a new log, in their order."""
    first = FirstEntry("the first bundles and pool", SEED)
    models = [admit_document("model", document) for document in offered(catalog)]
    if not models:
        return (first,)
    changes = [put("model", model["model_id"], model) for model in models]
    return (first, FirstEntry(entry_reason(catalog), changes))
