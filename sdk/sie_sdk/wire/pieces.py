"""Long lists in pieces: which items go in which request, and one answer of all of them.

*pure.* Promises that the pieces hold every item once and in order. An answer is of one revision of
its model and adapter: pieces of an older one are named, to be sent again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sie_schemas.items import Item

__all__ = ["cut", "older"]

_CHARS_MAX: Final = 2_000_000
"""Far below what a gateway takes as one body, also where each character has several bytes."""


def cut(items: Sequence[Item], *, items_max: int) -> list[list[Item]]:
    """The pieces, about equal in items; at least one, which may be empty. An item that is too long
    for a piece is one of its own."""
    count = max(1, -(-len(items) // items_max))
    each = max(1, -(-len(items) // count))
    pieces: list[list[Item]] = [[]]
    chars = 0
    for item in items:
        size = len(item.text or "")
        if pieces[-1] and (len(pieces[-1]) == each or chars + size > _CHARS_MAX):
            pieces.append([])
            chars = 0
        pieces[-1].append(item)
        chars += size
    return pieces


def older(answers: Sequence[Mapping[str, Any]]) -> list[int]:
    """The pieces that another revision answered than the one of the newest configuration."""
    told = [answer["request"] for answer in answers]
    newest = max(told, key=lambda request: _epoch(request["epoch"]))
    wanted = (newest["model_revision"], newest["adapter_revision"])
    return [
        index
        for index, request in enumerate(told)
        if (request["model_revision"], request["adapter_revision"]) != wanted
    ]


def _epoch(position: str) -> int:
    """The number in `<log>.<epoch>`; 0 where nothing was said."""
    number = position.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0
