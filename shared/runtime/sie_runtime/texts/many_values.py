"""The lists and maps of a body, counted before any of them is built.

*pure.* An empty map is one byte of MessagePack and over a hundred in memory. Promises that a body
of fewer than `CONTAINERS_MAX` of them is let through, and that a look costs less than a second. A
small body is not looked at, and of a large one its bytes are counted. Only where those may be too
many is it walked.
"""

import re
from typing import Final

__all__ = ["CONTAINERS_MAX", "has_too_many"]

CONTAINERS_MAX: Final = 300_000
"""Three times what 4,096 items with metadata of twenty lists each have. They take 40 MB."""
_STEPS_MAX: Final = 300_000
"""Texts and pictures that a walk goes past, at a microsecond each. Nobody sends so many with so
many bytes that may be lists."""
# Each pattern reads its part once: an end of the body ends a text, and nothing is tried twice. A
# text that ended nowhere, of a million escaped quotes, was begun anew at each of them.
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_OF_CONTAINERS: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
"""The first bytes of lists and maps. In a text, a picture or a number they mean nothing."""
_EMPTY_OR_SHORT: Final = re.compile(rb"[\x80-\x9f]*+")
"""A run of lists and maps of up to 15 values, whose heads stand side by side."""
_PLAIN: Final = re.compile(
    b"(?:[\x00-\x7f\xc0-\xc3\xe0-\xff]"
    b"|[\xcc\xd0].|[\xcd\xd1].{2}|[\xca\xce\xd2].{4}|[\xcb\xcf\xd3].{8}"
    + b"".join(b"|%c.{%d}" % (0xA0 + length, length) for length in range(32))
    + b")*+",
    re.DOTALL,
)
"""A run of numbers, of short texts and of what is true, false or nothing."""
_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""The bytes that tell how long a value is, behind its first one."""
_BESIDE: Final = {
    0xC7: 1, 0xC8: 1, 0xC9: 1, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
    0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""The bytes that a value has beside those: the kind of an extension, the number of a long list."""


def has_too_many(body: bytes, *, is_msgpack: bool, most: int = CONTAINERS_MAX) -> bool:
    """True if a body has more than `most` lists and maps, which are not built then. Of one that
    cannot be read either may be said."""
    if len(body) <= most:
        return False
    if is_msgpack:
        rest = len(body.translate(None, _OF_CONTAINERS))
        return len(body) - rest > most and _walked(body, most)
    if _brackets(body) <= most:
        return False
    return _brackets(_TEXT.sub(b"", body)) > most


def _brackets(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _walked(body: bytes, most: int) -> bool:
    containers = steps = at = 0
    size = len(body)
    while at < size and containers <= most and steps <= _STEPS_MAX:
        begun = at = _end(_PLAIN, body, at)
        at = _end(_EMPTY_OR_SHORT, body, at)
        containers += at - begun
        if at > begun or at >= size:
            continue
        first, behind = body[at], at + 1
        long = _LENGTHS.get(first, 0)
        steps += 1
        containers += first in _OF_CONTAINERS
        at += 1 + long + _BESIDE.get(first, 0) + int.from_bytes(body[behind : behind + long])
    return at < size or containers > most


def _end(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = pattern.match(body, at)
    return at if found is None else found.end()
