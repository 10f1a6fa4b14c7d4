"""Windows of words: a text that has more than a model reads, in parts that overlap by a quarter.

*pure.* Promises that every word is in a window, that none has more words or tokens than it may,
and that each place of the text belongs to one window: that in which it lies farthest from a cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["WordWindow", "word_windows"]

_OVERLAP: Final = 4


@dataclass(frozen=True, slots=True)
class WordWindow:
    """A part of a text, from `start` to `stop`; entities that begin from `first` to `last` are its
    to tell. `tokens` are those of its words."""

    start: int
    stop: int
    first: int
    last: int
    tokens: int


def word_windows(
    words: Sequence[tuple[int, int]], pieces: Sequence[int], words_max: int, tokens_max: int
) -> list[WordWindow]:
    """The windows of words at (start, stop), of which each has its pieces."""
    ranges: list[tuple[int, int]] = []
    begin = 0
    while True:
        end, tokens = begin, 0
        while end < len(words) and end - begin < words_max and tokens + pieces[end] <= tokens_max:
            tokens += pieces[end]
            end += 1
        ranges.append((begin, end))
        if end == len(words):
            break
        begin = max(begin + 1, end - (end - begin) // _OVERLAP)
    bounds = [0]
    for (_, end), (after, _) in pairwise(ranges):
        bounds.append(words[after + (end - after + 1) // 2][0])
    bounds.append(words[-1][1])
    return [
        WordWindow(
            start=words[begin][0],
            stop=words[end - 1][1],
            first=bounds[place],
            last=bounds[place + 1],
            tokens=sum(pieces[begin:end]),
        )
        for place, (begin, end) in enumerate(ranges)
    ]
