"""Blame: for each field of a document, the change that gave it its value.

*pure.* Promises that each leaf of the newest document is told of the first change since which it
has had this value without a break. A removal breaks every field.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from sie_config.documents.differences import escape

__all__ = ["Traced", "origins", "trace"]

Who = TypeVar("Who")

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Traced(Struct, Generic[Who], frozen=True):
    """A value as canonical JSON, and whose it is: a leaf's own, else that of what is in it."""

    body: bytes
    who: Who
    inside: Mapping[str, "Traced[Who]"] = {}


def trace(before: Traced[Who] | None, document: bytes | None, who: Who) -> Traced[Who] | None:
    """A document after one more change; None where that removed it, or there is none before."""
    return None if document is None else _traced(before, document, who)


def origins(traced: Traced[Who], path: str = "") -> Iterator[tuple[str, Any, Who]]:
    """Pointer, value and origin of each leaf."""
    for name, part in traced.inside.items():
        yield from origins(part, f"{path}/{escape(name)}")
    if not traced.inside:
        yield path, msgspec.json.decode(traced.body), traced.who


def _traced(before: Traced[Who] | None, body: bytes, who: Who) -> Traced[Who]:
    # Canonical bytes: equal bytes are equal values, and most of a document stays as it was.
    if before is not None and before.body == body:
        return before
    if not body.startswith(b"{"):
        return Traced(body, who)
    known = before.inside if before is not None else {}
    inside: dict[str, Traced[Who]] = {}
    for name, raw in _FIELDS.decode(body).items():
        part, old = bytes(raw), known.get(name)
        # The same question again, since a call for each field that stayed costs half of it all.
        inside[name] = old if old and old.body == part else _traced(old, part, who)
    return Traced(body, who, inside)
