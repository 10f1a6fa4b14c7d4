"""Answers as long as the registry: JSON in parts, between which other requests have their turn.

*shell* over views. Promises that no answer holds the loop for longer than a part of it takes. All
of its parts are of one registry and one fleet: those that the view was made of.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import msgspec
from fastapi.responses import Response, StreamingResponse

from sie_gateway.http.views import LongView, Rows

__all__ = ["long_answer", "long_text", "short_answer"]

_PART: Final = 100
"""Rows encoded between two turns of the loop, so that requests wait milliseconds for them."""
_JSON: Final = "application/json"


def short_answer(told: object, *, status: int = 200) -> Response:
    """An answer of one object: a model, a document, or the pools, of which there are few."""
    return Response(msgspec.json.encode(told), status_code=status, media_type=_JSON)


async def long_answer(view: LongView) -> Response:
    """The answer: at once where it is short."""
    if sum(len(rows.keys) for rows in view.lists.values()) <= _PART:
        return Response(await long_text(view), media_type=_JSON)
    return StreamingResponse(_parts(view), media_type=_JSON)


async def long_text(view: LongView) -> bytes:
    """All of it."""
    return b"".join([part async for part in _parts(view)])


async def _parts(view: LongView) -> AsyncIterator[bytes]:
    separator = b"{"
    if view.head:
        # Without its last brace: the lists go on in the same object.
        yield msgspec.json.encode(view.head)[:-1]
        separator = b","
    for name, rows in view.lists.items():
        yield separator + msgspec.json.encode(name) + b":["
        separator = b","
        for part in _rows(rows):
            yield part
            await asyncio.sleep(0)
        yield b"]"
    yield b"}"


def _rows(rows: Rows) -> Iterator[bytes]:
    for start in range(0, len(rows.keys), _PART):
        part = [rows.row(key) for key in rows.keys[start : start + _PART]]
        yield (b"," if start else b"") + msgspec.json.encode(part)[1:-1]
