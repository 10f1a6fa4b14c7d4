"""RFC 6902 as a reader applies it: the other half of the laws on differences."""

import copy
from typing import Any

__all__ = ["patched"]


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
