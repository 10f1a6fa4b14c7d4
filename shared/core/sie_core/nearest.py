"""The name that was most likely meant.

*pure.* Spelling, case and the signs between words do not count: `dryRun` and `DRY-RUN` mean
`dry_run`, `loraAdapter` means `lora`. Gives None rather than a far guess.
"""

import difflib
import re
from collections.abc import Collection
from typing import Final

__all__ = ["advice", "choice", "nearest"]

_SHOWN_MAX: Final = 40
"""Names are short: the cost of a comparison grows with the product of lengths."""
_PART_MIN: Final = 4
"""A shorter name is part of too many words."""
_NAMED_MAX: Final = 20
"""More than anybody reads in a sentence."""
_COMPARED_MAX: Final = 20
"""Each costs 25 µs of a gateway's loop where all are alike, as adapters of many tenants are."""
_WORDS: Final = re.compile("[^a-z0-9]+")


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that was most likely meant, or None."""
    plain = {_plain(each): each for each in sorted(known)}
    given = _plain(name[:_SHOWN_MAX])
    close = difflib.get_close_matches(given, plain, n=1)
    if close:
        return plain[close[0]]
    parts = [each for each in plain if len(each) >= _PART_MIN and given.startswith(each)]
    return plain[max(parts, key=len)] if parts else None


def advice(name: str, known: Collection[str]) -> str:
    """Words for who gave an unknown name: the one that was meant, or all that there are."""
    if not known:
        return "it takes none"
    meant = nearest(name, known)
    return f"did you mean {meant!r}?" if meant else f"it takes {', '.join(sorted(known))}"


def choice(name: str, known: Collection[str], lead: str) -> str:
    """`lead` and the names that there are, after the one that was meant. Of many, some."""
    names = sorted(known)
    compared = [each for each in names[:_COMPARED_MAX] if len(each) <= _SHOWN_MAX]
    meant = nearest(name, compared)
    told = ", ".join(names[:_NAMED_MAX]) or "none"
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return (f"did you mean {meant!r}? " if meant else "") + f"{lead}: {told}{more}"


def _plain(name: str) -> str:
    return _WORDS.sub("", name.lower())
