"""The route that was most likely meant by a path that is not here.

*pure.* Spelling alone counts. The words are for people.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches
from typing import Final

__all__ = ["path_advice"]

_LIKENESS: Final = 0.8
"""One wrong letter of a short path is nearer than that, and another word is not."""


def path_advice(path: str, known: Iterable[str]) -> str:
    """Words for who asked for this path. In `known`, `{name}` stands for whatever a path names."""
    tidy = path.rstrip("/")
    routes: dict[str, dict[str, str]] = {}
    # The shortest comes last, and stays: of a model, not of its history.
    for route in sorted(known, key=len, reverse=True):
        fixed, named, _ = route.partition("/{")
        given = "/".join(tidy.split("/")[: fixed.count("/") + 1]) if named else tidy
        if not named or given != tidy:
            routes.setdefault(given, {})[fixed] = route
    near = [
        (SequenceMatcher(None, given, fixed).ratio(), of[fixed])
        for given, of in routes.items()
        for fixed in get_close_matches(given, of, 1, _LIKENESS)
    ]
    return f"is it {max(near)[1]}?" if near else "GET /docs tells every route"
