"""Answers within bounds, for a client that may have reached a stranger.

*shell* inside httpx, whose own times are for each read: one byte now and then is never late there.
Promises that a body ends by its time or with an error, and that no more than its bound is held.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import httpx

__all__ = ["EVENTS", "PLAIN", "UnfitAnswer", "bounding_async", "bounding_sync"]

PLAIN: Final[Mapping[str, str]] = MappingProxyType({"accept-encoding": "identity"})
"""The header of a request whose answer is bounded: of packed bytes a few may be gigabytes."""
EVENTS: Final[Mapping[str, Any]] = MappingProxyType({"sie_events": True})
"""The extensions of a request that is answered by events for as long as somebody listens. Each of
them is bounded in its bytes, and none in time."""
_EVENT_ENDS: Final = b"\n\n"
_BYTES_PER_S: Final = 16_384
"""Bytes of an answer that earn it one second more, as those of a request do."""


class UnfitAnswer(httpx.RemoteProtocolError):
    """An answer that is too large, or packed. Asking again brings the same."""


def bounding_async(
    bytes_max: int, *, timeout_s: float | None
) -> Callable[[httpx.Response], Awaitable[None]]:
    """For `event_hooks["response"]` of a client: each body has `timeout_s`, and what its bytes
    earn; None is without end. The client then raises `httpx.TransportError`. Heads have httpx's
    own times."""

    async def bound(response: httpx.Response) -> None:
        _refuse_packed(response)
        stream = cast(httpx.AsyncByteStream, response.stream)
        response.stream = _Bounded(stream, bytes_max, timeout_s, is_events=_is_events(response))

    return bound


def bounding_sync(bytes_max: int, *, timeout_s: float | None) -> Callable[[httpx.Response], None]:
    """The same for a client that blocks."""

    def bound(response: httpx.Response) -> None:
        _refuse_packed(response)
        stream = cast(httpx.SyncByteStream, response.stream)
        response.stream = _BoundedSync(stream, bytes_max, timeout_s, is_events=_is_events(response))

    return bound


def _is_events(response: httpx.Response) -> bool:
    # By what was asked: an answer may say anything of itself.
    return bool(EVENTS.items() <= response.request.extensions.items())


def _refuse_packed(response: httpx.Response) -> None:
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise UnfitAnswer(f"the answer came as {coding[:40]!r}, unasked")


class _Held:
    """The bytes of a body that somebody holds by now, and how long it may take."""

    def __init__(self, bytes_max: int, timeout_s: float | None, *, is_events: bool) -> None:
        self._bytes_max = bytes_max
        self._timeout_s = None if is_events else timeout_s
        self._is_events = is_events
        self._size = 0
        self._last = b""

    def take(self, part: bytes) -> None:
        """Raises `UnfitAnswer`."""
        self._size += len(part)
        if self._size > self._bytes_max:
            raise UnfitAnswer(f"the answer has over {self._bytes_max} bytes")
        if self._is_events:
            found = self._last + part
            if _EVENT_ENDS in found:
                self._size = len(found) - found.rindex(_EVENT_ENDS) - len(_EVENT_ENDS)
            self._last = part[-1:]

    @property
    def within_s(self) -> float | None:
        """Seconds from the beginning until the next part."""
        return None if self._timeout_s is None else self._timeout_s + self._size / _BYTES_PER_S


class _Bounded(httpx.AsyncByteStream):
    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        bytes_max: int,
        timeout_s: float | None,
        *,
        is_events: bool = False,
    ) -> None:
        self._stream = stream
        self._held = _Held(bytes_max, timeout_s, is_events=is_events)

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


class _BoundedSync(httpx.SyncByteStream):
    def __init__(
        self,
        stream: httpx.SyncByteStream,
        bytes_max: int,
        timeout_s: float | None,
        *,
        is_events: bool,
    ) -> None:
        self._stream = stream
        self._held = _Held(bytes_max, timeout_s, is_events=is_events)

    def __iter__(self) -> Iterator[bytes]:
        began = time.monotonic()
        for part in self._stream:
            self._held.take(part)
            within_s = self._held.within_s
            if within_s is not None and time.monotonic() - began > within_s:
                raise httpx.ReadTimeout("the answer comes in drops")
            yield part

    def close(self) -> None:
        self._stream.close()


@contextlib.asynccontextmanager
async def _by(ends_at: float | None) -> AsyncIterator[None]:
    """Until a time of the loop."""
    try:
        async with asyncio.timeout_at(ends_at):
            yield
    except TimeoutError as error:
        raise httpx.ReadTimeout("the answer comes in drops") from error
