"""The bounds of answers for a client of a loop.

*shell* inside httpx.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import httpx

from sie_sdk.wire.bounded_answers import Held

__all__ = ["bounding_async"]


def bounding_async(
    bytes_max: int, *, timeout_s: float | None
) -> Callable[[httpx.Response], Awaitable[None]]:
    """For `event_hooks["response"]` of a client: each body has `timeout_s`, and what its bytes
    earn; None is without end. The client then raises `httpx.TransportError`. Heads have httpx's
    own times."""

    async def bound(response: httpx.Response) -> None:
        held = Held(response, bytes_max, timeout_s=timeout_s)
        response.stream = _Bounded(cast(httpx.AsyncByteStream, response.stream), held)

    return bound


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, held: Held) -> None:
        self._stream = stream
        self._held = held

    async def __aiter__(self) -> AsyncIterator[bytes]:
        began = asyncio.get_running_loop().time()
        parts = aiter(self._stream)
        while True:
            within_s = self._held.within_s
            # Also of what is no part: extensions of chunks and trailers come to nobody's sight.
            async with _by(None if within_s is None else began + within_s):
                part = await anext(parts, None)
            if part is None:
                return
            self._held.take(part)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextlib.asynccontextmanager
async def _by(ends_at: float | None) -> AsyncIterator[None]:
    """Until a time of the loop."""
    try:
        async with asyncio.timeout_at(ends_at):
            yield
    except TimeoutError as error:
        raise httpx.ReadTimeout("the answer comes in drops") from error
