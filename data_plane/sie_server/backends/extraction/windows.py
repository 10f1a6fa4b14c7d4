"""Windows: a text that is longer than the model reads, in parts that overlap.

*pure.* Promises that the windows cover every token once or twice, and that none is longer than the
model reads. Each token is taken from the window in which it lies farthest from where the text was
cut. A text that the model reads whole has one window.
"""

from dataclasses import dataclass
from typing import Final

from tokenizers import Encoding

__all__ = ["TextTokens", "Window"]

_OVERLAP: Final = 4
"""Neighbouring windows share a quarter. So a token has an eighth of a window on either side, or the
end of the text."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window's token ids, special ones included, and the tokens that are taken from it.

    `first` to `last` are places in the window, `last` behind the last of them.
    """

    ids: list[int]
    type_ids: list[int]
    first: int
    last: int


class TextTokens:
    """The tokens of one text: those of its words, and the special ones around them."""

    def __init__(self, encoding: Encoding) -> None:
        special = encoding.special_tokens_mask
        count = len(special)
        self._before = next((place for place, is_one in enumerate(special) if not is_one), count)
        behind = next((n for n, is_one in enumerate(reversed(special)) if not is_one), 0)
        self._stop = count - behind if self._before < count else self._before
        self._encoding = encoding

    @property
    def tokens(self) -> list[str]:
        """The tokens between the special ones."""
        return self._encoding.tokens[self._before : self._stop]

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """Their places in the text."""
        return self._encoding.offsets[self._before : self._stop]

    def windows(self, tokens_max: int) -> list[Window]:
        """The windows in order. Raises `ValueError` where `tokens_max` is all special tokens."""
        ids, types = self._encoding.ids, self._encoding.type_ids
        count = self._stop - self._before
        room = tokens_max - (len(ids) - count)
        if room < 1:
            raise ValueError(f"{tokens_max} tokens have no room for a text's own")
        if count == 0:
            return []
        shared = room // _OVERLAP
        # A window that began among the last shared tokens would show none that was not seen
        # before.
        starts = range(0, max(1, count - shared), room - shared)
        windows = []
        for start in starts:
            stop = min(start + room, count)
            # Half of what two windows share is each one's: there a token lies farthest from a cut.
            first = start + (shared + 1) // 2 if start else 0
            last = stop - shared // 2 if stop < count else count
            windows.append(
                Window(
                    ids=self._cut(ids, start, stop),
                    type_ids=self._cut(types, start, stop),
                    first=self._before + first - start,
                    last=self._before + last - start,
                )
            )
        return windows

    def _cut(self, values: list[int], start: int, stop: int) -> list[int]:
        return [
            *values[: self._before],
            *values[self._before + start : self._before + stop],
            *values[self._stop :],
        ]
