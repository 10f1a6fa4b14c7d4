"""Choosing among entities by their fields: `pool=default,source.type!=hub,tasks.score`.

*pure.* Promises that every part of a selector has to hold. A field which no document has is an
error that names the nearest one. An empty selector takes everything.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sie_core.nearest import advice
from sie_schemas.errors import FixRequest

__all__ = ["Selector"]

_NOTHING: Final[tuple[Any, ...]] = (None, False, "", [])
"""Values of a field that is not set; a mapping without names is set."""
_PART: Final = re.compile(
    r"(?P<not>!)?(?P<path>[A-Za-z_][\w-]*(?:\.[\w/-]+)*)\s*(?:(?P<sign>!=|==|=)\s*(?P<value>.*))?",
    re.DOTALL,
)


class Selector:
    """Conditions on a document: `FIELD`, `!FIELD`, `FIELD=VALUE`, `FIELD!=VALUE`, with commas.

    A field of a field is written with dots. A list has a value where one of its parts is that
    value; a mapping has it where one of its names is.
    """

    def __init__(self, text: str) -> None:
        """Raises `FixRequest` for what is no condition."""
        self._parts: list[tuple[Sequence[str], bool, str | None]] = []
        for part in filter(None, (each.strip() for each in text.split(","))):
            found = _PART.fullmatch(part)
            if found is None or (found["not"] and found["sign"]):
                raise FixRequest(
                    f"the selector {part!r} is not understood: write FIELD=VALUE, FIELD!=VALUE, "
                    "FIELD or !FIELD, like pool=default,source.type!=hub"
                )
            is_wanted = found["sign"] != "!=" and not found["not"]
            self._parts.append((found["path"].split("."), is_wanted, found["value"]))

    def check(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Raises `FixRequest` for a field that none of the documents has."""
        known = {name for document in documents for name in document}
        for path, _, _ in self._parts:
            if known and path[0] not in known:
                raise FixRequest(f"no document has a field {path[0]!r}: {advice(path[0], known)}")

    def takes(self, document: Mapping[str, Any]) -> bool:
        """True if every condition holds."""
        return all(_holds(document, *part) for part in self._parts)


def _holds(
    document: Mapping[str, Any], path: Sequence[str], is_wanted: bool, value: str | None
) -> bool:
    found: Any = document
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    is_so = found not in _NOTHING if value is None else value in _texts(found)
    return is_so == is_wanted


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case list():
            return [text for each in value for text in _texts(each)]
        case Mapping():
            return list(value)
        case None:
            return [""]
        case _:
            return [json.dumps(value)]
