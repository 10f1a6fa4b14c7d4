"""Blame: for each field of a document, the change that gave it its value.

*pure.* Promises that each leaf of the newest document is told of the first change since which it
has had this value without a break. A removal breaks every field.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from sie_config.differences import escape, same

__all__ = ["blame", "leaves"]

Who = TypeVar("Who")

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class _Field(Generic[Who]):
    """A field of the document's top: its bytes, and the origin of each leaf below it."""

    body: bytes
    origins: Mapping[str, tuple[Any, Who]]


def blame(versions: Sequence[tuple[Who, bytes | None]]) -> dict[str, tuple[Any, Who]]:
    """Value and origin of each leaf of the last version, by JSON pointer; oldest version first.

    A version's document is canonical JSON of an object, None where it removed the entity.
    """
    fields: dict[str, _Field[Who]] = {}
    for who, document in versions:
        raw = _FIELDS.decode(document) if document is not None else {}
        # Canonical bytes: equal bytes are equal values, and most fields stay as they were.
        fields = {
            name: known
            if (known := fields.get(name)) is not None and known.body == body
            else _traced(name, bytes(body), known, who)
            for name, body in raw.items()
        }
    return {path: origin for field in fields.values() for path, origin in field.origins.items()}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its pointer. A list is a leaf; so is an empty object."""
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from leaves(part, f"{path}/{escape(str(name))}")
    else:
        yield path, value


def _traced(name: str, body: bytes, before: _Field[Who] | None, who: Who) -> _Field[Who]:
    origins: dict[str, tuple[Any, Who]] = {}
    for path, value in leaves(msgspec.json.decode(body), f"/{escape(name)}"):
        known = before.origins.get(path) if before is not None else None
        origins[path] = known if known is not None and same(known[0], value) else (value, who)
    return _Field(body, origins)
