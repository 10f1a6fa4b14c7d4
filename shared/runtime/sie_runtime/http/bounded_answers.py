"""Answers over HTTP within bounds, for a client that may have reached a stranger.

*shell* inside httpx, whose own times are for each read: one byte now and then is never late there.
Promises that an answer ends by its time or with an error, and that no more than its bound is held.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, cast

import httpx

__all__ = ["PLAIN", "bounding"]

PLAIN: Final[Mapping[str, str]] = MappingProxyType({"accept-encoding": "identity"})
"""The header of a request whose answer is bounded: of packed bytes a few may be gigabytes."""
_BYTES_PER_S: Final = 16_384
"""Bytes of an answer that earn it one second more, as those of a request do."""


def bounding(bytes_max: int, *, timeout_s: float) -> Callable[[httpx.Response], Awaitable[None]]:
    """For `event_hooks["response"]` of a client: each body has `timeout_s`, and what it earns.

    The client then raises `httpx.TransportError`.
    """

    async def bound(response: httpx.Response) -> None:
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"", "identity"}:
            raise httpx.RemoteProtocolError(f"the answer came as {coding[:40]!r}, unasked")
        stream = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _Bounded(stream, bytes_max, timeout_s)

    return bound


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, bytes_max: int, timeout_s: float) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        began, size = loop.time(), 0
        async for part in self._stream:
            size += len(part)
            if size > self._bytes_max:
                raise httpx.RemoteProtocolError(f"the answer has over {self._bytes_max} bytes")
            if loop.time() - began > self._timeout_s + size / _BYTES_PER_S:
                raise httpx.ReadTimeout("the answer comes in drops")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
