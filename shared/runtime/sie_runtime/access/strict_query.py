"""Query parameters, read strictly.

*pure.* A parameter that is not known must never be passed over: a write that was meant as a trial
would be made. Promises:

- An unknown name is refused with the nearest one that is known.
- A name that comes twice is refused by its name, as is text that cannot be decoded.
- What is well formed reads as every library reads it.
"""

import re
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from sie_core.nearest import advice
from sie_schemas.errors import FixRequest

__all__ = ["check_query"]

_SHOWN_MAX: Final = 40
"""A stranger's text in a message of ours."""
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def check_query(query: bytes, known: Collection[str], *, route: str) -> None:
    """Check a query string against the names that a route knows. Raises `FixRequest`.

    `route` is the method and the path, for the message.
    """
    seen: set[str] = set()
    for name in _names(query):
        shown = name[:_SHOWN_MAX]
        # `?dry-run=true` was passed over once, and the write made.
        if name not in known:
            raise FixRequest(
                f"{route} knows no query parameter {shown!r}; {advice(name, known)}", field=shown
            )
        if name in seen:
            raise FixRequest(f"the query parameter {shown!r} is given twice", field=shown)
        seen.add(name)


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
