"""Paths into JSON, as `kubectl -o jsonpath` writes the plain ones: `{.items[*].name}`.

*pure.* Names, numbers and `*` for each: no filters, no ranges. Promises that what is not understood
is refused with the place where it stops, and that a name that is not there selects nothing.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from sie_schemas.errors import FixRequest

__all__ = ["Path", "read_path", "selected"]

Path: TypeAlias = Sequence[str | int | None]
"""Steps: a name, a number, or None for each of a list or of a mapping."""

_STEP: Final = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|\.(?P<all>\*)|\[(?P<each>\*)\]|\[(?P<number>-?[0-9]+)\]"
    r"|\[(?P<quoted>'[^']*'|\"[^\"]*\")\]"
)


def read_path(text: str) -> Path:
    """The steps of a path; braces around it and a `$` before it may be there. Raises
    `FixRequest`."""
    if text.strip().startswith("{") != text.strip().endswith("}"):
        raise FixRequest(f"the path {text!r} has one brace of two: quote it for the shell")
    inner = text.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[str | int | None] = []
    at = 0
    while at < len(inner):
        found = _STEP.match(inner, at)
        if found is None:
            raise FixRequest(
                f"the path {text!r} is not understood from {inner[at:]!r} on: write it like "
                "'{.items[*].name}' or '{.document.profiles.default}'"
            )
        steps.append(_step(found))
        at = found.end()
    return steps


def _step(found: re.Match[str]) -> str | int | None:
    if found["number"] is not None:
        return int(found["number"])
    if found["quoted"] is not None:
        return found["quoted"][1:-1]
    return found["name"]


def selected(value: Any, path: Path) -> list[Any]:
    """The values that a path selects, in order."""
    found = [value]
    for step in path:
        found = [part for each in found for part in _below(each, step)]
    return found


def _below(value: Any, step: str | int | None) -> Iterable[Any]:
    match value, step:
        case dict(), None:
            return value.values()
        case list(), None:
            return value
        case dict(), str() if step in value:
            return [value[step]]
        case list(), int() if -len(value) <= step < len(value):
            return [value[step]]
        case _:
            return []
