"""The promise of every extractor about the places of its spans, in each unit of places."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from sie_server.backends.extraction.characters import OffsetUnit, whole

__all__ = ["OFFSET_UNITS", "assert_spans_of"]

OFFSET_UNITS: Final[tuple[str, ...]] = get_args(OffsetUnit)


def assert_spans_of(
    text: str, told: Mapping[str, Sequence[dict[str, Any]]], *, flat: bool = True
) -> None:
    """`told` has the spans of a text for each unit: each is the part of the text at its places,
    has no blanks at its ends and cuts no character; the units differ in numbers alone. With `flat`
    no two overlap."""
    assert set(told) == set(OFFSET_UNITS)
    for unit, found in told.items():
        stopped = 0
        for one in found:
            assert one["text"] == _slice(text, one["start"], one["end"], unit)
            assert one["text"] and one["text"] == one["text"].strip()
            assert stopped <= one["start"] < one["end"] or not flat
            assert 0 < one["score"] <= 1
            stopped = one["end"]
    for one in told["characters"]:
        assert whole(text, one["start"], one["end"]) == (one["start"], one["end"])
    words = [[(one["text"], one["label"]) for one in found] for found in told.values()]
    assert words.count(words[0]) == len(words)


def _slice(text: str, start: int, stop: int, unit: str) -> str:
    if unit == "utf16":
        return text.encode("utf-16-le")[2 * start : 2 * stop].decode("utf-16-le")
    if unit == "bytes":
        return text.encode()[start:stop].decode()
    return text[start:stop]
