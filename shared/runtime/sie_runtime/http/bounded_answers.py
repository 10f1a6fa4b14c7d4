"""Answers over HTTP within bounds, for a client that may have reached a stranger.

*shell* inside httpx, whose own times are for each read: one byte now and then is never late there.
Promises that an answer ends by its time or with an error, and that no more than its bound is held.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, cast

import httpx

__all__ = ["PLAIN", "BoundedClient", "bounding_sync", "closing_after"]

PLAIN: Final[Mapping[str, str]] = MappingProxyType({"accept-encoding": "identity"})
"""The header of a request whose answer is bounded: of packed bytes a few may be gigabytes."""
_BYTES_PER_S: Final = 16_384
"""Bytes of an answer that earn it one second more, as those of a request do."""


class BoundedClient(httpx.AsyncClient):
    """Each answer's body has `body_s` seconds, and what its bytes earn. Its head has the sum of the
    times for the parts of a request. Methods then raise `httpx.TransportError`."""

    def __init__(self, *, bytes_max: int, body_s: float, **told: Any) -> None:
        async def bound(response: httpx.Response) -> None:
            _refuse_packed(response)
            stream = cast(httpx.AsyncByteStream, response.stream)
            clock = asyncio.get_running_loop().time
            response.stream = _Bounded(stream, _Allowance(bytes_max, body_s, clock))

        super().__init__(event_hooks={"response": [bound]}, **told)

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **told: Any
    ) -> httpx.Response:
        """Send a request; without `stream` its answer is read whole."""
        parts = request.extensions.get("timeout", {}).values()
        head_s = sum(seconds for seconds in parts if seconds is not None) or None
        try:
            async with asyncio.timeout(head_s):
                response = await super().send(request, stream=True, **told)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the head of the answer comes in drops") from error
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response


def bounding_sync(bytes_max: int, *, timeout_s: float) -> Callable[[httpx.Response], None]:
    """For `event_hooks["response"]` of a client that blocks: each body has `timeout_s`, and what
    its bytes earn. The client then raises `httpx.TransportError`. See `closing_after` for heads."""

    def bound(response: httpx.Response) -> None:
        _refuse_packed(response)
        stream = cast(httpx.SyncByteStream, response.stream)
        response.stream = _BoundedSync(stream, _Allowance(bytes_max, timeout_s, time.monotonic))

    return bound


@contextmanager
def closing_after(http: httpx.Client, timeout_s: float) -> Iterator[Callable[[], None]]:
    """Close the connections of a client that blocks, unless the block ends within `timeout_s`.

    A head in drops ends so. Gives a function that lets the rest of the block have its time. Raises
    `httpx.ReadTimeout` where the client was closed.
    """
    timer = threading.Timer(timeout_s, http.close)
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()
    if http.is_closed:
        raise httpx.ReadTimeout("the answer comes in drops")


def _refuse_packed(response: httpx.Response) -> None:
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise httpx.RemoteProtocolError(f"the answer came as {coding[:40]!r}, unasked")


class _Allowance:
    """The bytes and seconds that one body may still have."""

    def __init__(self, bytes_max: int, timeout_s: float, clock: Callable[[], float]) -> None:
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s
        self._clock = clock
        self._began = clock()
        self._size = 0

    def take(self, part: bytes) -> bytes:
        """The part, if it is within both. Raises `httpx.TransportError`."""
        self._size += len(part)
        if self._size > self._bytes_max:
            raise httpx.RemoteProtocolError(f"the answer has over {self._bytes_max} bytes")
        if self._clock() - self._began > self._timeout_s + self._size / _BYTES_PER_S:
            raise httpx.ReadTimeout("the answer comes in drops")
        return part


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, allowance: _Allowance) -> None:
        self._stream = stream
        self._allowance = allowance

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield self._allowance.take(part)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _BoundedSync(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, allowance: _Allowance) -> None:
        self._stream = stream
        self._allowance = allowance

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            yield self._allowance.take(part)

    def close(self) -> None:
        self._stream.close()
