"""The bounds of answers for a client that blocks, which loads no loop.

*shell* inside httpx.
"""

import time
from collections.abc import Callable, Iterator
from typing import cast

import httpx

from sie_sdk.wire.bounded_answers import Held

__all__ = ["bounding_sync"]


def bounding_sync(bytes_max: int, *, timeout_s: float | None) -> Callable[[httpx.Response], None]:
    """The same for a client that blocks."""

    def bound(response: httpx.Response) -> None:
        held = Held(response, bytes_max, timeout_s=timeout_s)
        response.stream = _Bounded(cast(httpx.SyncByteStream, response.stream), held)

    return bound


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, held: Held) -> None:
        self._stream = stream
        self._held = held

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
