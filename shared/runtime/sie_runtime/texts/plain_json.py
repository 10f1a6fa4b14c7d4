"""JSON as it is meant in a config: no key twice, no number without an end, no half character.

*pure.* Promises that what is read is bounded in values and levels, and that what is refused is
named with its line.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, Final

from sie_runtime.texts.bounds import BOUNDS, Bounds
from sie_schemas.errors import FixRequest

__all__ = ["NotJson", "read_json"]

_NESTED_TOO_DEEP: Final = "it is nested too deep"


class NotJson(FixRequest):
    """A text is no JSON at all; it may be something else."""


def read_json(text: str, place: str, bounds: Bounds = BOUNDS) -> Any:
    """The value of a text. Raises `NotJson`, and `FixRequest` for JSON that cannot be meant."""
    try:
        value = json.loads(
            text, object_pairs_hook=_mapping, parse_float=_finite, parse_constant=_no_constant
        )
        _check(value, bounds)
    except json.JSONDecodeError as error:
        raise NotJson(f"{place} is no JSON: line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise FixRequest(f"{place}: {_NESTED_TOO_DEEP}") from error
    except ValueError as error:
        raise FixRequest(f"{place} cannot be read: {error}") from error
    except FixRequest as error:
        raise FixRequest(f"{place}: {error.message}") from error
    return value


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise FixRequest(f"the key {twice!r} stands twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise FixRequest(f"{text[:20]}: a number is finite")
    return number


def _no_constant(text: str) -> Any:
    raise FixRequest(f"{text}: a number is finite")


def _check(value: Any, bounds: Bounds) -> None:
    """Look at every value, level by level: nothing here is as deep as what it looks at."""
    count, depth = 1, 1
    level: list[Any] = [value]
    while level:
        bounds.check_depth(depth)
        below: list[Any] = []
        for each in level:
            below += _inside(each)
        count += len(below)
        bounds.check_values(count)
        level, depth = below, depth + 1


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key in value:
            _check_text(key)
        return value.values()
    elif isinstance(value, list):
        return value
    return ()


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(text[error.start]):04x}"
            raise FixRequest(f"{half} is half a character: it is one of a pair") from error
