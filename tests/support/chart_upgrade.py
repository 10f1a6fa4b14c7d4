"""The fields of a release that Kubernetes never changes: an upgrade of the chart must not want to.

*pure.* `tests/data/chart-0.2.0.json` holds those of the chart of release 0.2.0, by values file.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["lasting"]

_CHANGEABLE: Final[Mapping[str, frozenset[str]]] = {
    "StatefulSet": frozenset(
        {
            "replicas",
            "template",
            "updateStrategy",
            "minReadySeconds",
            "revisionHistoryLimit",
            "ordinals",
            "persistentVolumeClaimRetentionPolicy",
        }
    ),
    # Its size may grow, where the storage class lets it.
    "PersistentVolumeClaim": frozenset({"resources"}),
}
"""All other fields of their `spec` are for ever."""
_LASTING: Final[Mapping[str, frozenset[str]]] = {
    "Deployment": frozenset({"selector"}),
    "Service": frozenset({"clusterIP"}),
}
"""These fields of their `spec` are for ever, and no other."""


def lasting(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By `Kind/name`: what an upgrade has to leave as it is."""
    found = {}
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind in _CHANGEABLE:
            kept = {name: value for name, value in spec.items() if name not in _CHANGEABLE[kind]}
        elif kind in _LASTING:
            kept = {name: value for name, value in spec.items() if name in _LASTING[kind]}
        else:
            continue
        found[f"{kind}/{document['metadata']['name']}"] = kept
    return found
