"""The lists and maps of a body, counted before any of them is built.

*pure.* An empty map is one byte of MessagePack and over a hundred in memory. Promises that a body
of fewer than `CONTAINERS_MAX` of them is let through. A small body is not looked at, and of a large
one its bytes are counted. Only where those may be too many is it walked.
"""

import re
from typing import Final

__all__ = ["CONTAINERS_MAX", "has_too_many"]

CONTAINERS_MAX: Final = 1_000_000
"""Ten times what 4,096 items with metadata of twenty lists each have. They take 130 MB."""
_VALUES_MAX: Final = 4 * CONTAINERS_MAX
"""A walk ends there: nobody sends so many numbers with so many lists."""
_TEXT: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OF_CONTAINERS: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
"""The first bytes of lists and maps. In a text, a picture or a number they mean nothing."""
_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""The bytes that tell how long a value is, behind its first one."""
_COUNTS: Final = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_NUMBERS: Final = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2}
_LONG_NUMBERS: Final = {0xD2: 4, 0xD3: 8}
_EXTENSIONS: Final = {0xC7: 1, 0xC8: 1, 0xC9: 1, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
_SHORT_TEXTS: Final = {0xA0 + length: length for length in range(32)}
_BESIDE: Final = _COUNTS | _NUMBERS | _LONG_NUMBERS | _EXTENSIONS | _SHORT_TEXTS
"""The bytes that each kind of value has beside those."""
_HEADS: Final = [_LENGTHS.get(first, 0) for first in range(256)]
_STEPS: Final = [1 + _HEADS[first] + _BESIDE.get(first, 0) for first in range(256)]
_IS_CONTAINER: Final = [first in _OF_CONTAINERS for first in range(256)]


def has_too_many(body: bytes, *, is_msgpack: bool) -> bool:
    """True if a body has more lists and maps than are built. One that cannot be read has not."""
    if len(body) <= CONTAINERS_MAX:
        return False
    if is_msgpack:
        rest = len(body.translate(None, _OF_CONTAINERS))
        return len(body) - rest > CONTAINERS_MAX and _walked(body)
    if _brackets(body) <= CONTAINERS_MAX:
        return False
    return _brackets(_TEXT.sub(b"", body)) > CONTAINERS_MAX


def _brackets(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _walked(body: bytes) -> bool:
    containers = values = at = 0
    size = len(body)
    while at < size and containers <= CONTAINERS_MAX and values <= _VALUES_MAX:
        first, behind = body[at], at + 1
        values += 1
        containers += _IS_CONTAINER[first]
        at += _STEPS[first] + int.from_bytes(body[behind : behind + _HEADS[first]])
    return at < size
