"""Tags: from a classifier's label names to kinds of entities, and where one begins and ends.

*pure.* Reads BIO (either kind), BIOES, BILOU, BMES, IO with a prefix, and names without a scheme. A
letter before a hyphen is a prefix only where the names as a whole bear it out. So `E-MAIL` beside
`PHONE` is a name. `O` is outside; a kind may be called `O` too (`B-O`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["OUTSIDE", "Tag", "read_tags"]

OUTSIDE: Final = "O"
_BEGINS: Final = frozenset("B")
_INSIDE: Final = frozenset("IM")
_ENDS: Final = frozenset("EL")
_ALONE: Final = frozenset("SU")
_PREFIXES: Final = _BEGINS | _INSIDE | _ENDS | _ALONE


@dataclass(frozen=True, slots=True)
class Tag:
    """A label's meaning: its kind (None outside), and whether an entity begins or ends there."""

    name: str
    kind: str | None
    begins: bool = False
    ends: bool = False


def read_tags(names: Sequence[str]) -> list[Tag]:
    """The meaning of each label, in order."""
    split = {name: _split(name) for name in names if name != OUTSIDE}
    kinds: dict[str, set[str]] = {}
    for prefix, kind in split.values():
        kinds.setdefault(kind, set()).add(prefix)
    prefixes = _scheme(kinds.values())
    return [_tag(name, split, kinds, prefixes) for name in names]


def _split(name: str) -> tuple[str, str]:
    """Prefix and kind; an empty prefix where the name has none."""
    prefix, dash, kind = name.partition("-")
    return (prefix, kind) if dash and kind and prefix in _PREFIXES else ("", name)


def _scheme(kinds: Iterable[set[str]]) -> frozenset[str]:
    """The prefixes that are prefixes: none where the letters are parts of names."""
    told = list(kinds)
    used = frozenset().union(*told)
    # `E-MAIL` beside `PHONE`: the letter is of the name.
    if "" in used and not any(len(own) > 1 for own in told):
        return frozenset()
    if not used & (_BEGINS | _INSIDE):
        return frozenset()
    bounded = any(own & (_BEGINS | _INSIDE) and own & (_ENDS | _ALONE) for own in told)
    return used - {""} if bounded else used & (_BEGINS | _INSIDE)


def _tag(
    name: str,
    split: dict[str, tuple[str, str]],
    kinds: dict[str, set[str]],
    prefixes: frozenset[str],
) -> Tag:
    if name == OUTSIDE:
        return Tag(name, None)
    prefix, kind = split[name]
    if prefix not in prefixes:
        return Tag(name, name)
    if prefix in _ENDS and not kinds[kind] & (_BEGINS | _INSIDE):
        # An end of what never begins: the letter is part of the name.
        return Tag(name, name)
    alone = prefix in _ALONE
    return Tag(name, kind, begins=alone or prefix in _BEGINS, ends=alone or prefix in _ENDS)
