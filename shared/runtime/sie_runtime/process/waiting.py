"""Waiting: for the first of several things, and for a turn among many.

*shell.* Promises that whatever was not the first is cancelled before `first_of` returns to its
caller. A crowd that wakes at once goes on a few at a time, with everybody else's work between.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

__all__ = ["Turnstile", "first_of"]


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


async def first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    """Return when one of these ends, or after `timeout_s`."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
