"""Advice beside the fault of a body that is not of its type.

*pure.* Promises that an unknown field or word is told the nearest right one, or all that may stand
there. A field in the wrong place is told its own, and a bare text how it is written.
"""

import re
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from sie_core.nearest import advice

__all__ = ["fault_advice"]

_UNKNOWN_FIELD: Final = re.compile(r"unknown field `([^`]+)`")
_UNKNOWN_WORD: Final = re.compile(r"^Invalid enum value '([^']*)'")
_BARE_TEXT: Final = re.compile(r"^Expected `object(?: \| \w+)*`, got `str`$")
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)")
_NO_HOMES: Final[Mapping[str, str]] = types.MappingProxyType({})


def fault_advice(body: Any, where: str, message: str, homes: Mapping[str, str] = _NO_HOMES) -> str:
    """The end of a message of `problem_of`, with the place that it told, in the type `body`.
    Empty where there is nothing to add. `homes` has the fields that take names of their own."""
    if (unknown := _UNKNOWN_FIELD.search(message)) is not None:
        parent = where.removesuffix(f".{unknown.group(1)}")
        fields = _fields_at(body, parent)
        if place := _place_of(unknown.group(1), body, parent, homes.get(unknown.group(1))):
            return f"; it stands in `{place}`"
        return f"; {advice(unknown.group(1), fields)}" if fields else ""
    if (word := _UNKNOWN_WORD.search(message)) is not None:
        words = [each for each in _at(body, where) if get_origin(each) is Literal]
        allowed = {str(each) for choice in words for each in get_args(choice)}
        return f"; {_choice(word.group(1), allowed)}" if allowed else ""
    if _BARE_TEXT.match(message) and "text" in _fields_at(body, where):
        return '; a text is written {"text": "…"}'
    return ""


def _place_of(name: str, body: Any, parent: str, home: str | None) -> str:
    """The field beside a name in which that name stands; empty where there is none."""
    fields = _fields_at(body, parent)
    if home in fields:
        return str(home)
    for field in sorted(fields):
        below = _fields_at(body, f"{parent}.{field}")
        if name in below:
            return field
        if home in below:
            return f"{field}.{home}"
    return ""


def _choice(word: str, allowed: Collection[str]) -> str:
    meant = advice(word, allowed)
    listed = ", ".join(sorted(allowed))
    return meant if meant.startswith("it takes") else f"{meant} It is one of {listed}"


def _fields_at(body: Any, path: str) -> set[str]:
    structs = [each for each in _at(body, path) if _is_struct(each)]
    return {name for each in structs for name in each.__struct_encode_fields__}


def _at(kind: Any, path: str) -> list[Any]:
    """The types that may stand at a path such as `$.items[0].text` of a type."""
    found = list(_inner(kind))
    for name in _STEP.findall(path):
        hints = [
            get_type_hints(each, include_extras=True).get(name)
            for each in found
            if _is_struct(each)
        ]
        found = [inner for hint in hints if hint is not None for inner in _inner(hint)]
    return found


def _inner(kind: Any) -> Iterator[Any]:
    """The types inside lists, alternatives and annotations; a type by itself."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _inner(get_args(kind)[0])
    elif origin in (tuple, list, types.UnionType) or getattr(origin, "_name", "") == "Union":
        for part in get_args(kind):
            yield from _inner(part)
    else:
        yield kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
