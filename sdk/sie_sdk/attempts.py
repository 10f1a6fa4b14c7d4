"""The attempts of one call: the clock and the chance that patience is told. It runs the pieces of a
long list, and holds the bar that shows how far they have come.

*shell.* All four clients stand on it and only differ in how they pause. Runs end what they began:
after an error, or when nobody reads on, the rest is given up.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from contextvars import copy_context
from importlib import import_module
from typing import Any, TypeAlias

from sie_schemas.errors import SIEError
from sie_sdk.patience import Patience, Retry, retry_delay_s
from sie_sdk.wire.call import Call

__all__ = ["Attempts", "in_tasks", "in_threads", "progress"]

_Answer: TypeAlias = dict[str, Any]


class Attempts:
    """Made before the first attempt of a call; one call, one owner. `on_retry` is told of each."""

    def __init__(
        self, patience: Patience, on_retry: Callable[[Retry], object] | None = None
    ) -> None:
        self._patience = patience
        self._on_retry = on_retry
        self._began_at = time.monotonic()
        self._failed = 0

    def pause_after(self, error: SIEError) -> float:
        """Seconds to wait before the next attempt. Raises the error where none would help."""
        elapsed_s = time.monotonic() - self._began_at
        delay = retry_delay_s(
            error,
            attempt=self._failed,
            elapsed_s=elapsed_s,
            patience=self._patience,
            chance=random.random(),
        )
        if delay is None:
            raise error
        self._failed += 1
        if self._on_retry is not None:
            self._on_retry(Retry(error, self._failed, elapsed_s, delay))
        return delay


@contextmanager
def progress(total: int, *, is_shown: bool) -> Iterator[Callable[[int], object]]:
    """A bar over so many items, told of each part that is done. Raises `ImportError` without
    tqdm."""
    if not is_shown:
        yield _unseen
        return
    try:
        tqdm = import_module("tqdm.auto").tqdm
    except ImportError:
        raise ImportError("show_progress wants `pip install tqdm`") from None
    with tqdm(total=total, unit="item") as bar:
        yield bar.update


def _unseen(_done: int) -> None:
    """Nobody looks."""


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
