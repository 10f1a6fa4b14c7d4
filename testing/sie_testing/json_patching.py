"""RFC 6902 as a reader applies it: the other half of what is said of differences.

*pure.*
"""

import copy
from typing import Any

import msgspec

from sie_config.documents.differences import PLURALS
from sie_core.registry import Registry

__all__ = ["as_json", "patched"]


def as_json(registry: Registry) -> dict[str, dict[str, Any]]:
    """The JSON value that a difference of registries is a patch of."""
    shown: dict[str, dict[str, Any]] = {plural: {} for plural in PLURALS.values()}
    for entity in registry:
        shown[PLURALS[entity.kind]][entity.key] = msgspec.json.decode(entity.document)
    return shown


def patched(value: Any, operations: list[dict[str, Any]]) -> Any:
    """The value after add, remove and replace operations on objects."""
    holder = {"": copy.deepcopy(value)}
    for operation in operations:
        names = [part.replace("~1", "/").replace("~0", "~") for part in _parts(operation["path"])]
        target: Any = holder
        for name in names[:-1]:
            target = target[name]
        if operation["op"] == "remove":
            del target[names[-1]]
        else:
            assert (operation["op"] == "replace") == (names[-1] in target)
            target[names[-1]] = copy.deepcopy(operation["value"])
    return holder[""]


def _parts(path: str) -> list[str]:
    return path.split("/")
