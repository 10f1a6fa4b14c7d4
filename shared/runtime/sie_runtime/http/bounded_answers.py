"""Answers over HTTP within bounds, for a client that may have reached a stranger.

*shell* inside httpx, whose own times are for each read: one byte now and then is never late there.
Promises that an answer ends by its time or with an error, its head, its trailers and what is sent
between its chunks among it. No more than its bound is held.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

import httpx

__all__ = [
    "PLAIN",
    "BoundedClient",
    "ask",
]

PLAIN: Final[Mapping[str, str]] = MappingProxyType({"accept-encoding": "identity"})
"""The header of a request whose answer is bounded: of packed bytes a few may be gigabytes."""
Verify: TypeAlias = ssl.SSLContext | bool
_BYTES_PER_S: Final = 16_384
"""Bytes of an answer that earn it one second more, as those of a request do."""


class BoundedClient(httpx.AsyncClient):
    """A client whose answers are bounded. Owner: who makes it.

    A head has `head_s` seconds, else as long as httpx gives all steps up to it together. A body
    has `body_s` and what its bytes earn. Each call raises `httpx.TransportError` where an answer is
    over that.
    """

    def __init__(
        self, *, body_bytes_max: int, body_s: float, head_s: float | None = None, **options: Any
    ) -> None:
        """`options` are those of `httpx.AsyncClient`."""
        self._head_s = head_s

        # Of an answer that leads on to another one too.
        async def bound(response: httpx.Response) -> None:
            _refuse_packed(response)
            answered = cast(httpx.AsyncByteStream, response.stream)
            response.stream = _Bounded(answered, body_bytes_max, body_s)

        super().__init__(event_hooks={"response": [bound]}, **options)

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """As the library's, within the bounds."""
        # A call that may wait for its answer says so by its own time for a read.
        steps = request.extensions.get("timeout", {}).values()
        head_s = self._head_s or (None if not steps or None in steps else sum(steps))
        loop = asyncio.get_running_loop()
        async with _by(None if head_s is None else loop.time() + head_s):
            response = await super().send(request, stream=True, **options)
        try:
            if not stream:
                await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return response


def ask(
    method: str, url: str, *, body_bytes_max: int, within_s: float, verify: Verify, **asked: Any
) -> httpx.Response:
    """One request of somebody who blocks, within the bounds of `BoundedClient`, its head too.

    `within_s` is for its head, and again for its body beside what its bytes earn. `asked` is what a
    client's `request` takes. Raises `httpx.HTTPError`, and `RuntimeError` where a loop runs.
    """

    async def answered() -> httpx.Response:
        async with BoundedClient(
            body_bytes_max=body_bytes_max,
            body_s=within_s,
            head_s=within_s,
            timeout=within_s,
            verify=verify,
        ) as http:
            headers = {**PLAIN, **asked.pop("headers", {})}
            return await http.request(method, url, headers=headers, **asked)

    return asyncio.run(answered())


def _refuse_packed(response: httpx.Response) -> None:
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise httpx.RemoteProtocolError(f"the answer came as {coding[:40]!r}, unasked")


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, bytes_max: int, timeout_s: float) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self._timeout_s = timeout_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        began, size = asyncio.get_running_loop().time(), 0
        parts = aiter(self._stream)
        while True:
            # Also of what is no part: extensions of chunks and trailers come to nobody's sight.
            async with _by(began + self._timeout_s + size / _BYTES_PER_S):
                part = await anext(parts, None)
            if part is None:
                return
            size += len(part)
            if size > self._bytes_max:
                raise httpx.RemoteProtocolError(f"the answer has over {self._bytes_max} bytes")
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
