"""Runs of pieces: the requests of one long list, several at a time, in threads or in tasks.

*shell.* Each gives the answers as they come, and ends what it began. After an error, or when nobody
reads on, the rest is given up.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from typing import Any, TypeAlias

from sie_sdk.wire.call import Call

__all__ = ["in_tasks", "in_threads"]

_Answer: TypeAlias = dict[str, Any]


def in_threads(
    answered: Callable[[Call], _Answer], calls: Mapping[int, Call], at_once: int
) -> Generator[tuple[int, _Answer], None, None]:
    """The answer to each call, with the call's number, by at most `at_once` threads."""
    with ThreadPoolExecutor(min(at_once, len(calls))) as threads:
        # With the context of the caller: a trace that it is in is that of every piece.
        running = {
            threads.submit(copy_context().run, answered, call): index
            for index, call in calls.items()
        }
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


async def in_tasks(
    answered: Callable[[Call], Awaitable[_Answer]], calls: Mapping[int, Call], at_once: int
) -> AsyncGenerator[tuple[int, _Answer], None]:
    """The same in tasks of the running loop."""
    room = asyncio.Semaphore(at_once)

    async def one(index: int, call: Call) -> tuple[int, _Answer]:
        async with room:
            return index, await answered(call)

    running = [asyncio.create_task(one(index, call)) for index, call in calls.items()]
    try:
        for ended in asyncio.as_completed(running):
            yield await ended
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
