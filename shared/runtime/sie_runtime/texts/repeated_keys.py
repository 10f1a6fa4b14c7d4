"""A key that stands twice in one object of JSON, where a decoder takes the last without a word.

*pure.* RFC 8259 calls what a reader makes of such a body unpredictable. Promises to find one in
every body that is JSON. One in which no name comes twice at all is split at its names; only another
is read once more.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["repeated_key"]

_SPACED: Final = (b" :", b"\t:", b"\n:", b"\r:")
"""Between a key and its colon white space is allowed, and hardly anybody writes it."""
_SPLIT_MAX: Final = 300_000
"""As many names as a body may have; so many pieces take a twentieth of a second."""
_SHOWN_MAX: Final = 100
"""Of a name in the place: longer than every field of ours."""


def repeated_key(body: bytes) -> str | None:
    """The place of a key that stands twice in its object, as `$.options.lora`; None if none does.

    The body was decoded before: of what is no JSON, nothing is promised.
    """
    if body.count(b'":') > _SPLIT_MAX:
        # Texts that hold JSON: a reader passes over them, and a split makes a piece of each mark.
        return _found(body)
    names = [piece[piece.rfind(b'"') + 1 :] for piece in body.split(b'":')[:-1]]
    if (
        len(set(names)) == len(names)
        # Where every colon ends a name, none stands apart from its name.
        and (body.count(b":") == len(names) or not any(mark in body for mark in _SPACED))
        # A name may be written with escapes; a text that holds JSON looks as if it was.
        and (b"\\" not in body or not any(b"\\" in name for name in names))
    ):
        return None
    return _found(body)


def _found(body: bytes) -> str | None:
    seen: list[str] = []

    def made(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        once: set[str] = set()
        for key, _ in pairs:
            if key in once:
                seen.append(key)
                return _Twice(key)
            once.add(key)
        raise AssertionError("a shorter mapping has lost a key")

    # Numbers are not looked at, and as floats they cost least.
    whole = json.loads(body, object_pairs_hook=made, parse_int=float, parse_float=float)
    steps = _steps(whole) if seen else None
    return None if steps is None else "$" + "".join(reversed(steps))


class _Twice:
    """Stands for an object in which a key stands twice."""

    def __init__(self, key: str) -> None:
        self.key = key


def _steps(value: Any) -> list[str] | None:
    """The way to the first such object, from its end. Only the way itself is written: with all
    places beside it, a name of a megabyte above a long list was hundreds of gigabytes."""
    match value:
        case _Twice():
            return [f".{value.key[:_SHOWN_MAX]}"]
        case dict():
            inner: Iterable[tuple[Any, Any]] = value.items()
        case list():
            inner = enumerate(value)
        case _:
            return None
    for name, each in inner:
        if (steps := _steps(each)) is not None:
            steps.append(f"[{name}]" if isinstance(value, list) else f".{name[:_SHOWN_MAX]}")
            return steps
    return None
