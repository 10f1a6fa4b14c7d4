"""The lists, maps, names, texts and numbers of a body, counted before any of them is built.

*pure.* An empty map is one byte of MessagePack and over a hundred in memory, and a text of two
letters sixty. A million names hold whoever reads them for a second. Promises that a body of fewer
than the bounds is let through, and that a look costs less than a second. A small body is not looked
at, and of a large one its bytes are counted. Only where those may be too many is it walked.
"""

import re
from typing import Final

__all__ = ["LEAVES_BESIDE", "VALUES_MAX", "has_too_many"]

VALUES_MAX: Final = 300_000
"""Nearly twice what 4,096 items with metadata of twenty named lists each have. They take 40 MB."""
LEAVES_BESIDE: Final = 300_000
"""Texts and numbers that a request may have beside its token ids: as many as it may have names."""
_STEPS_MAX: Final = 300_000
"""Texts and pictures that a walk goes past, at a microsecond each. Nobody sends so many with so
many bytes that may be lists."""
# Each pattern reads its part once: an end of the body ends a text, and nothing is tried twice. A
# text that ended nowhere, of a million escaped quotes, was begun anew at each of them.
_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_SOME_TEXTS: Final = re.compile(rb'(?:[^"]*+"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)){1,1000}+', re.DOTALL)
"""So many that a look may end soon, and so few that the engine holds little for them."""
_TEXTS_MAX: Final = 600_000
"""Of JSON, whose names are texts. They take a tenth of a second to go past, and nobody sends so
many with so many colons or brackets."""
_CHUNK: Final = 4096
"""Values that one search goes past. Of fewer that are left in JSON none is counted."""
_TO_COMMAS: Final = re.compile(
    rb'(?:[^",]*+(?:"(?:[^"\\]++|\\.)*+"[^",]*+)*+,){%d}+' % _CHUNK, re.DOTALL
)
"""Past so many commas that stand in no text: a value ends at each."""
_OF_CONTAINERS: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
"""The first bytes of lists and maps. In a text, a picture or a number they mean nothing."""
_EMPTY_OR_SHORT: Final = re.compile(rb"[\x80-\x9f]*+")
"""A run of lists and maps of up to 15 values, whose heads stand side by side."""
_LEAF: Final = (
    b"(?:[\x00-\x7f\xc0-\xc3\xe0-\xff]"
    b"|[\xcc\xd0].|[\xcd\xd1].{2}|[\xca\xce\xd2].{4}|[\xcb\xcf\xd3].{8}"
    + b"".join(b"|%c.{%d}" % (0xA0 + length, length) for length in range(32))
    + b")"
)
"""A number, a short text, or what is true, false or nothing."""
_PLAIN, _ONE, _MANY = (
    re.compile(_LEAF + often, re.DOTALL) for often in (b"*+", b"", b"{%d}+" % _CHUNK)
)
"""A run of them, one, and many."""
_NAMES: Final = bytes([*[0] * 0x80, *range(16), *[0] * 0x70])
"""The names that a map of up to 15 has, by its first byte."""
_LONG_MAPS: Final = b"\xde\xdf"
_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""The bytes that tell how long a value is, behind its first one."""
_BESIDE: Final = {
    0xC7: 1, 0xC8: 1, 0xC9: 1, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
    0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""The bytes that a value has beside those: the kind of an extension, the number of a long list."""


def has_too_many(
    body: bytes, *, is_msgpack: bool, most: int = VALUES_MAX, leaves_max: int | None = None
) -> bool:
    """True if a body has more than `most` lists, maps and names of maps, or over `leaves_max` texts
    and numbers, which are not built then. Of one that cannot be read either may be said.

    In JSON the last value of each list and map, and a few thousand more, do not count among these.
    """
    if len(body) <= most:
        return False
    if is_msgpack:
        return _walked(body, most, len(body) if leaves_max is None else leaves_max)
    if leaves_max is not None and body.count(b",") > leaves_max and _has_commas(body, leaves_max):
        return True
    return _marks(body) > most and _past_texts(body, most)


def _has_commas(body: bytes, most: int) -> bool:
    found = at = 0
    while found <= most and (past := _TO_COMMAS.match(body, at)) is not None:
        found, at = found + _CHUNK, past.end()
    return found > most


def _marks(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{") + body.count(b":")


def _past_texts(body: bytes, most: int) -> bool:
    found = texts = at = 0
    while at < len(body) and found <= most and texts <= _TEXTS_MAX:
        begun, at = at, _end(_SOME_TEXTS, body, at)
        # Where no text begins any more, all that is left is looked at.
        at = len(body) if at == begun else at
        bare, gone = _TEXT.subn(b"", body[begun:at])
        found += _marks(bare)
        texts += gone
    return at < len(body) or found > most


def _walked(body: bytes, most: int, leaves_max: int) -> bool:
    found = leaves = steps = at = 0
    size = len(body)
    while at < size and found <= most and leaves <= leaves_max and steps <= _STEPS_MAX:
        more, at = _past_leaves(body, at, leaves_max - leaves)
        leaves, begun = leaves + more, at
        at = _end(_EMPTY_OR_SHORT, body, at)
        found += at - begun
        if found <= most:
            found += sum(body[begun:at].translate(_NAMES))
        if at > begun or at >= size:
            continue
        first, behind = body[at], at + 1
        beside = _BESIDE.get(first, 0)
        long = _LENGTHS.get(first, 0)
        steps += 1
        if first in _OF_CONTAINERS:
            found += 1
        if first in _LONG_MAPS:
            found += int.from_bytes(body[behind : behind + beside])
        at += 1 + long + beside + int.from_bytes(body[behind : behind + long])
    return at < size or found > most or leaves > leaves_max


def _past_leaves(body: bytes, at: int, most: int) -> tuple[int, int]:
    """The number of leaves in a run, and its end; of too many only that they are."""
    found = 0
    while found <= most and (past := _MANY.match(body, at)) is not None:
        found, at = found + _CHUNK, past.end()
    if found > most:
        return found, at
    end = _end(_PLAIN, body, at)
    return found + len(_ONE.findall(body, at, end)), end


def _end(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = pattern.match(body, at)
    return at if found is None else found.end()
