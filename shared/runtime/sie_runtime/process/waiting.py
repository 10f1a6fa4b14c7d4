"""Waiting: for the first of several things, for a turn among many, and for news within a bound.

*shell.* Promises that whatever was not the first is cancelled before `first_of` returns to its
caller. A crowd that wakes at once goes on a few at a time, with everybody else's work between. Of
those that wait for news no more than a bound do, whoever they are.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, TypeVar

__all__ = ["Turnstile", "Waits", "first_of"]

T = TypeVar("T")


class Turnstile:
    """Lets `at_once_max` through, then a round of the loop, then the next."""

    def __init__(self, at_once_max: int) -> None:
        self._room = asyncio.Semaphore(at_once_max)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold a place while an answer is made."""
        async with self._room:
            await asyncio.sleep(0)
            yield

    async def each(self, parts: AsyncIterator[T]) -> AsyncIterator[T]:
        """The same parts; each is made in a turn of its own."""
        while True:
            async with self.turn():
                try:
                    part = await anext(parts)
                except StopAsyncIteration:
                    return
            yield part


class Waits:
    """The requests that wait for news, also those whose client has gone, which nobody tells.

    Beyond `waits_max` a newcomer ends the oldest wait of whoever has most.
    """

    def __init__(self, waits_max: int) -> None:
        self.waits_max: Final = waits_max
        self._waiting: dict[asyncio.Timeout, str] = {}
        """Whose each is; the oldest first."""

    def __len__(self) -> int:
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def until(self, deadline: float | None, whose: str) -> AsyncIterator[asyncio.Timeout]:
        """End what is awaited inside at `deadline`, in seconds of the loop, or for a newcomer.

        Without a deadline for a newcomer alone. Nothing is raised then. `when()` of what it gives
        tells which of the two it was. A `TimeoutError` of what is awaited itself is raised.
        """
        if len(self._waiting) >= self.waits_max:
            self._end_one()
        limit = asyncio.timeout_at(deadline)
        self._waiting[limit] = whose
        try:
            async with limit:
                yield limit
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            self._waiting.pop(limit, None)

    def _end_one(self) -> None:
        [(most, _)] = Counter(self._waiting.values()).most_common(1)
        oldest = next(limit for limit, whose in self._waiting.items() if whose == most)
        del self._waiting[oldest]
        # One whose time is over by itself goes by itself.
        if not oldest.expired():
            oldest.reschedule(asyncio.get_running_loop().time())


async def first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    """Return when one of these ends, or after `timeout_s`."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
