"""Blame: for each field of a document, the change that gave it its value.

*pure.* Promises that each leaf of the newest document is told of the first change since which it
has had this value without a break. A removal breaks every field.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sie_config.differences import escape, same

__all__ = ["blame", "leaves"]

Who = TypeVar("Who")


def blame(versions: Sequence[tuple[Who, Any]]) -> dict[str, tuple[Any, Who]]:
    """Value and origin of each leaf of the last version, by JSON pointer; oldest version first.

    A version's document is None where it removed the entity.
    """
    origins: dict[str, tuple[Any, Who]] = {}
    for who, document in versions:
        fresh: dict[str, tuple[Any, Who]] = {}
        for path, value in leaves(document) if document is not None else ():
            known = origins.get(path)
            fresh[path] = known if known is not None and same(known[0], value) else (value, who)
        origins = fresh
    return origins


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its pointer. A list is a leaf; so is an empty object."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from leaves(part, f"{path}/{escape(str(name))}")
    else:
        yield path, value
