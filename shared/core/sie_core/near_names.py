"""The nearest of many names: for one that was misspelt among thousands.

*pure.* Two sorted lists, of the names and of the names spelt backwards. A slip leaves the beginning
or the end as it was, so that few are compared. Gives None rather than a far guess.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

__all__ = ["LENGTH_MAX", "NearNames"]

_EACH_SIDE: Final = 6
"""Neighbours that are compared, before and after: a search takes some milliseconds at most."""
LENGTH_MAX: Final = 100
"""The cost of a comparison grows with the product of the lengths; ids are shorter."""
_LIKENESS: Final = 0.75
"""Two slips in a word of eight letters; another model's name is further."""
_TAIL_MIN: Final = 4
"""Of a name's last part: a shorter one is the same by chance."""
_TAIL_COUNTS: Final = 0.95
"""The right model of another organization comes behind one that is right but for a slip."""


class NearNames:
    """Names to choose from. Making it sorts them: some 20 ms for ten thousand."""

    def __init__(self, names: Iterable[str]) -> None:
        self._forward = sorted((name.casefold(), name) for name in names)
        self._backward = sorted((plain[::-1], name) for plain, name in self._forward)

    def __len__(self) -> int:
        return len(self._forward)

    def nearest(self, name: str) -> str | None:
        """The name that was most likely meant, or None."""
        given = name.casefold()
        if not given or len(given) > LENGTH_MAX:
            return None
        best, found = _LIKENESS, None
        for each in sorted(self._candidates(given)):
            likeness = _likeness(given, each.casefold(), above=best)
            if likeness > best:
                best, found = likeness, each
        return found

    def _candidates(self, given: str) -> set[str]:
        tail = given.rpartition("/")[2]
        return {
            *_around(self._forward, given),
            *_around(self._backward, given[::-1]),
            *_around(self._backward, tail[::-1]),
        }


def _around(names: Sequence[tuple[str, str]], given: str) -> Iterator[str]:
    place = bisect_left(names, (given,))
    for _, name in names[max(0, place - _EACH_SIDE) : place + _EACH_SIDE]:
        if len(name) <= LENGTH_MAX:
            yield name


def _likeness(given: str, name: str, *, above: float) -> float:
    tails = given.rpartition("/")[2], name.rpartition("/")[2]
    whole = _ratio(given, name, above)
    if min(map(len, tails)) < _TAIL_MIN:
        return whole
    return max(whole, _TAIL_COUNTS * _ratio(*tails, above))


def _ratio(one: str, other: str, above: float) -> float:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    if matcher.real_quick_ratio() <= above or matcher.quick_ratio() <= above:
        return 0.0
    return matcher.ratio()
