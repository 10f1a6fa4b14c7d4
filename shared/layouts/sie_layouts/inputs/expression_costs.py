"""The cost of a stranger's regular expression, before it reads a text.

*pure.* Promises that a text of n characters takes an accepted expression at most the square of n.
The engine gives a match up after ten million retries, and then begins anew at each next character.
So two repeats in a row, before something that fails, take minutes of four thousand characters.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["takes_for_ever"]

_EXPRESSION_MAX: Final = 4096
"""Characters of one expression; the longest that is known has 1,500."""
_DEPTH_MAX: Final = 50
"""Groups in groups; known expressions have four."""
_FEW: Final = 8
"""Times that a part may be repeated and still count as bounded: known expressions count to 3."""
_DEGREE_MAX: Final = 1
"""Repeats whose every length is tried, for each of another's. Known expressions have one, as
`\\s+(?!\\S)` does."""
_AGAIN: Final = re.compile(r"\\(?:[1-9]|[kg]['<])")
"""A text that was found before, or the expression itself: known ones have none, and both take any
time."""
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|\[[^\]]*\]|[^\]\\])*\]", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(?:[pP]\{[^}]*\}|.)", re.DOTALL)
_REPEAT: Final = re.compile(r"[*+]|\{\d*,\}")
_COUNTED: Final = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_AROUND: Final = re.compile(r"\(\?(?:[=!]|<[=!])")
_OPENING: Final = re.compile(r"\((?:\?(?:<[=!]|[=!>:]|<\w+>|'\w+'|[imx-]*:?))?")


def takes_for_ever(expression: str) -> bool:
    """True if it repeats or chooses in a repeat, tries repeats for each length of others, or names
    what it found."""
    if len(expression) > _EXPRESSION_MAX or _AGAIN.search(expression):
        return True
    # Neither an escaped sign nor one of a class has a meaning of its own.
    plain = _CLASS.sub("x", _ESCAPED.sub("x", expression))
    if plain.count("(") > _EXPRESSION_MAX or _repeats_what_repeats(plain):
        return True
    return _Reader(plain).whole().degree > _DEGREE_MAX


def _repeats_what_repeats(plain: str) -> bool:
    """True if a group is repeated without end that repeats something, or chooses, itself."""
    chooses = [False]
    for place, sign in enumerate(plain):
        if sign == "(":
            chooses.append(False)
        elif sign == "|" or _REPEAT.match(plain, place):
            chooses[-1] = True
        elif sign == ")" and len(chooses) > 1:
            inside = chooses.pop()
            if inside and _REPEAT.match(plain, place + 1):
                return True
            chooses[-1] |= inside
    return False


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch of an expression: what it costs, and what it may cost with what follows."""

    degree: int = 0
    """Repeats in a row of which each length is tried, when something behind them fails."""
    open: int = 0
    """Repeats whose lengths are tried again when something behind the stretch fails."""
    fails: bool = False
    """True if it may find nothing."""


class _Reader:
    """Reads an expression whose escapes and classes are one letter each."""

    def __init__(self, plain: str) -> None:
        self._plain = plain
        self._place = 0

    def whole(self) -> _Part:
        """The expression."""
        found = self._choices(0)
        # A sign too many at the end: the engine refuses it, and so is it here.
        return found if self._place >= len(self._plain) else _Part(degree=_DEGREE_MAX + 1)

    def _choices(self, depth: int) -> _Part:
        if depth > _DEPTH_MAX:
            return _Part(degree=_DEGREE_MAX + 1)
        each = [self._row(depth)]
        while self._plain[self._place : self._place + 1] == "|":
            self._place += 1
            each.append(self._row(depth))
        return _Part(
            max(part.degree for part in each),
            max(part.open for part in each),
            all(part.fails for part in each),
        )

    def _row(self, depth: int) -> _Part:
        degree = tried = 0
        fails = False
        while self._place < len(self._plain) and self._plain[self._place] not in "|)":
            part = self._counted(self._one(depth))
            degree = max(degree, part.degree)
            if part.fails:
                degree = max(degree, tried + part.degree)
                fails = True
            tried += part.open
        return _Part(degree, tried, fails)

    def _one(self, depth: int) -> _Part:
        """A letter, or a group."""
        begun = _OPENING.match(self._plain, self._place)
        if begun is None:
            self._place += 1
            return _Part(fails=True)
        is_around = _AROUND.match(self._plain, self._place) is not None
        self._place = begun.end()
        inside = self._choices(depth + 1)
        self._place += 1
        if is_around:
            # To look takes as long as what it looks for, and nothing of it is tried again.
            return _Part(max(inside.degree, min(inside.open, 1)), 0, True)
        return inside

    def _counted(self, part: _Part) -> _Part:
        """With the repeats behind it."""
        while (sign := _COUNTED.match(self._plain, self._place)) is not None:
            self._place = sign.end()
            least, most = _times(sign)
            if most > _FEW:
                part = _Part(max(part.degree, part.open), part.open + 1, part.fails)
            else:
                part = _Part(part.degree, part.open * most, part.fails)
            if least == 0:
                part = _Part(part.degree, part.open, False)
            after = self._plain[self._place : self._place + 1]
            if after == "+" and sign[0] in "*+?":
                # What it took it keeps: nothing is tried again.
                part = _Part(part.degree, 0, part.fails)
            if after == "?" or (after == "+" and sign[0] in "*+?"):
                self._place += 1
        return part


def _times(sign: re.Match[str]) -> tuple[int, int]:
    """The least and the most times of a repeat."""
    match sign[0]:
        case "*":
            return 0, _FEW + 1
        case "+":
            return 1, _FEW + 1
        case "?":
            return 0, 1
    least = int(sign[1] or 0)
    most = int(sign[3]) if sign[3] else _FEW + 1 if sign[2] else least
    return least, most
