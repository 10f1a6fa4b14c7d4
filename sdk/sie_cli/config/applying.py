"""Applying files: the one batch that makes the cluster hold what they say.

*pure.* Promises that all of it is one entry, and that what does not differ is not written. Pruning
removes only entities of kinds that the files speak of.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sie_cli.config.documents import KINDS, LocalDocument
from sie_sdk.config.calls import Kind

__all__ = ["operations_for", "pruned_kinds"]


def operations_for(
    documents: Sequence[LocalDocument], present: Mapping[Kind, Iterable[str]]
) -> list[dict[str, Any]]:
    """Puts of all documents, and deletes of what is `present` in a kind and not among them."""
    operations: list[dict[str, Any]] = [
        {"op": "put", "kind": each.kind, "key": each.key, "document": dict(each.document)}
        for each in documents
    ]
    wanted = {(each.kind, each.key) for each in documents}
    for kind, keys in present.items():
        operations += [
            {"op": "delete", "kind": kind, "key": key}
            for key in sorted(keys)
            if (kind, key) not in wanted
        ]
    return operations


def pruned_kinds(documents: Sequence[LocalDocument]) -> list[Kind]:
    """The kinds that pruning may remove from."""
    spoken_of = {each.kind for each in documents}
    return [kind for kind in KINDS if kind in spoken_of]
