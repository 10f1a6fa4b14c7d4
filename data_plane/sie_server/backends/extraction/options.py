"""Options of extraction, as a backend reads them.

*pure.* They are declared and checked elsewhere (`sie_core.backend_options`): here the request's
stand over the profile's, and these over what holds where neither says anything.
"""

from collections.abc import Mapping
from typing import Any, Final

from sie_schemas.ipc import RunBatch
from sie_server.backends.backend import ModelSpec

__all__ = ["CLASSES", "ENTITIES", "PLACES", "chosen"]

PLACES: Final = {"offset_unit": "characters"}
ENTITIES: Final = {**PLACES, "aggregation": "simple", "threshold": 0.0}
CLASSES: Final = {"threshold": 0.0}


def chosen(spec: ModelSpec, batch: RunBatch, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The value of each option that `defaults` names. A null is as good as absent."""
    found = dict(defaults)
    for given in (spec.profile.options, batch.options):
        found |= {name: given[name] for name in defaults if given.get(name) is not None}
    return found
