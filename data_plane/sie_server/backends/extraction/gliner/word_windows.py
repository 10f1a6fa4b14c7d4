"""Windows of words: a text that has more than a model reads, in parts that overlap by a quarter.

*pure.* Promises that every word is in a window, and that none has more words or tokens than it may.
Each place of the text belongs to one window: that in which it lies farthest from a cut. What begins
there and is no wider than the widest entity lies in that window whole, where a window has so many
words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["WordWindow", "word_windows"]

_OVERLAP: Final = 4
"""A quarter of a window is read twice: names at its end have words behind them."""


@dataclass(frozen=True, slots=True)
class WordWindow:
    """A part of a text, from `start` to `stop`; entities that begin from `first` to `last` are its
    to tell. `tokens` are those of its words."""

    start: int
    stop: int
    first: int
    last: int
    tokens: int

    def tells(self, start: int) -> bool:
        """True if an entity that begins there is this window's to tell."""
        return self.first <= start < self.last


def word_windows(
    words: Sequence[tuple[int, int]],
    pieces: Sequence[int],
    words_max: int,
    tokens_max: int,
    widest: int,
) -> list[WordWindow]:
    """The windows of words at (start, stop), of which each has its pieces; `widest` is the number
    of words of the widest entity."""
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
        # So much is shared that one of the two sees the widest entity whole; and after a window
        # of one long word the next still begins behind it.
        begin = max(begin + 1, end - max((end - begin) // _OVERLAP, widest - 1))
    bounds = [0]
    for (_, end), (after, _) in pairwise(ranges):
        middle = after + (end - after + 1) // 2
        bounds.append(words[max(after, min(middle, end - widest + 1))][0])
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
