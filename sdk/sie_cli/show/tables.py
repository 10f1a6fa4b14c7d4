"""Tables as lines of text: columns that are aligned, and that fit a width where one is given.

*pure.* Promises:

- No line is wider than the width. A long cell goes on in the next line of its column.
- No cell is longer than a bound: the end of a longer one is cut, and an ellipsis says so.
- A character that would move the cursor or turn the text around is written by its code.
- Wide characters count as two columns, and marks that stand on others as none.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sie_schemas.errors import visible

__all__ = ["table_lines", "width_of"]

_BETWEEN: Final = "  "
_NARROWEST: Final = 4
"""Columns below it are not made narrower, unless nothing else helps."""
_CELL_MAX: Final = 500
"""A document in a cell would be a line of 10,000 characters."""
_CUT: Final = "…"
_JOINER: Final = "\u200d"
"""Joins emoji to one picture, and does nothing else."""

Styled = Callable[[str, str], str]
"""From a cell's text and a line of it, filled up, to what is printed."""


def width_of(text: str) -> int:
    """The columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(_character_width(each) for each in text)


def table_lines(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None,
    styled: Styled = lambda _cell, piece: piece,
) -> Iterator[str]:
    """The lines of a table, its head first. `width` in columns; None: as wide as it is."""
    cells = [[_bounded(visible(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(width_of(row[at]) for row in cells) for at in range(len(head))]
    if width is not None:
        widths = _fitted(widths, width - len(_BETWEEN) * (len(widths) - 1))
    for number, row in enumerate(cells):
        pieces = [_folded(cell, room) for cell, room in zip(row, widths, strict=True)]
        for at in range(max(len(each) for each in pieces)):
            line = [each[at] if at < len(each) else "" for each in pieces]
            # What stands last in its line is not filled up: no line ends in blanks.
            last = max((place for place, piece in enumerate(line) if piece), default=0)
            yield _BETWEEN.join(
                styled(
                    cell if number else "",
                    piece if place == last else piece + " " * (room - width_of(piece)),
                )
                for place, (cell, piece, room) in enumerate(zip(row, line, widths, strict=True))
                if place <= last
            )


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or character == _JOINER:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _bounded(text: str) -> str:
    return text if len(text) <= _CELL_MAX else text[: _CELL_MAX - 1] + _CUT


def _fitted(widths: Sequence[int], room: int) -> list[int]:
    """The widths, of which the widest are taken from until all fit."""
    fitted = list(widths)
    for narrowest in (_NARROWEST, 1):
        while sum(fitted) > room and max(fitted) > narrowest:
            widest = max(fitted)
            below = max((each for each in fitted if each < widest), default=0)
            over = -(-(sum(fitted) - room) // fitted.count(widest))
            less = max(1, min(widest - max(below, narrowest), over))
            fitted = [each - less if each == widest else each for each in fitted]
    return fitted


def _folded(text: str, room: int) -> list[str]:
    """A text in pieces that fit, parted after a blank or a comma where one is near the end."""
    pieces: list[str] = []
    # One character stays whole: a wide one has no place in a column of one.
    while len(text) > 1 and width_of(text) > room:
        end, taken = 0, 0
        while end < len(text) and taken + _character_width(text[end]) <= room:
            taken += _character_width(text[end])
            end += 1
        end = max(end, 1)
        if text[end] == " ":
            end += 1
        better = max(text.rfind(mark, 0, end) for mark in " ,") + 1
        end = better if better > end // 2 else end
        pieces.append(text[:end].rstrip(" "))
        text = text[end:]
    return [*pieces, text.rstrip(" ")]
