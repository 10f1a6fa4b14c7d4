"""Query parameters, read strictly.

*pure.* A parameter that is not known must never be passed over: a write that was meant as a trial
would be made. Promises that an unknown name is refused with the nearest one that is known, and a
name that comes twice or text that cannot be decoded by its name; what is well formed reads as every
library reads it.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from sie_schemas.errors import FixRequest

__all__ = ["check_query", "nearest"]

_SHOWN_MAX: Final = 40
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_WORDS: Final = re.compile("[^a-z0-9]+")


def check_query(query: bytes, known: Collection[str], *, route: str) -> None:
    """Check a query string against the names that a route knows. Raises `FixRequest`.

    `route` is the method and the path, for the message.
    """
    seen: set[str] = set()
    for name in _names(query):
        shown = name[:_SHOWN_MAX]
        if name not in known:
            raise FixRequest(
                f"{route} knows no query parameter {shown!r}; {_advice(name, known)}", field=shown
            )
        if name in seen:
            raise FixRequest(f"the query parameter {shown!r} is given twice", field=shown)
        seen.add(name)


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that was most likely meant: `dryRun` and `DRY-RUN` mean `dry_run`."""
    plain = {_plain(each): each for each in sorted(known)}
    close = difflib.get_close_matches(_plain(name[:_SHOWN_MAX]), plain, n=1)
    return plain[close[0]] if close else None


def _plain(name: str) -> str:
    return _WORDS.sub("", name.lower())


def _advice(name: str, known: Collection[str]) -> str:
    if not known:
        return "it takes none"
    meant = nearest(name, known)
    return f"did you mean {meant!r}?" if meant else f"it takes {', '.join(sorted(known))}"


def _names(query: bytes) -> Iterator[str]:
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            found = _decoded(name, "a query parameter's name")
            _decoded(value, f"the query parameter {found[:_SHOWN_MAX]!r}")
            yield found


def _decoded(text: bytes, what: str) -> str:
    try:
        if not _BAD_ESCAPE.search(text):
            return unquote_to_bytes(text.decode("ascii").replace("+", " ")).decode()
    except UnicodeDecodeError:
        pass
    raise FixRequest(f"{what} is not percent-encoded UTF-8", field="query")
