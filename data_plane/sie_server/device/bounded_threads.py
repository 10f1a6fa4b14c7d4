"""Bounded threads: requests in order, one at a time, and a bound on how many wait.

*shell*: owns one thread, or a few where the work is not the device's. Promises that everything
given to `submit` begins in the order given, on one thread one after the other. A request that is
cancelled before its turn does not run at all. While nothing waits the thread may `serve`. Knows
what runs for longer than it may, and leaves it to the `watchdog` to act on that.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from typing import TypeVar

from sie_schemas.errors import Later

__all__ = ["BoundedThreads"]

T = TypeVar("T")


class BoundedThreads:
    """One thread, or `threads`. Made and closed on the loop's thread."""

    def __init__(self, *, queue_max: int, threads: int = 1, name: str = "device") -> None:
        self._queue_max = queue_max
        self._pending: set[object] = set()
        self._due: dict[object, float] = {}
        """The due times of what runs now, on the monotonic clock; written by the threads."""
        self._interrupt: Callable[[], None] = lambda: None
        self._thread = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    def overdue_s(self) -> float:
        """By how much the work that runs is over its time; 0 where none is."""
        now = time.monotonic()
        # A copy: the threads write to it meanwhile.
        return max([0.0, *(now - due for due in list(self._due.values()))])

    async def submit(self, work: Callable[[], T], *, within_s: float = inf) -> T:
        """Run `work` on the device's thread. Raises QUEUE_FULL when too much waits already.

        `within_s` is how long it may have the thread, of which `overdue_s` tells. Cancelling the
        caller takes the work out of the queue, if it has not begun.
        """
        if len(self._pending) >= self._queue_max:
            raise Later(
                f"{self._queue_max} requests wait for the device already", code="QUEUE_FULL"
            )
        future: Future[T] = self._thread.submit(self.timed, work, within_s)
        # The thread serves again only when the loop, which is here, has it do so.
        self._interrupt()
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return await asyncio.wrap_future(future)

    async def serve(
        self, until_interrupted: Callable[[], None], interrupt: Callable[[], None]
    ) -> None:
        """Have the thread do this whenever nothing else waits for it, until cancelled.

        It is interrupted whenever something is submitted, and returns then. Raises what it raises.
        """
        self._interrupt = interrupt
        try:
            while True:
                await asyncio.wrap_future(self._thread.submit(until_interrupted))
        finally:
            # To cancel the task ends nothing on the thread, which would hold up what comes next.
            interrupt()

    def timed(self, work: Callable[[], T], within_s: float) -> T:
        """On the thread: do something of which `overdue_s` tells when it takes longer."""
        key = object()
        self._due[key] = time.monotonic() + within_s
        try:
            return work()
        finally:
            del self._due[key]

    def close(self) -> bool:
        """Take no more and drop what waits. True if nothing runs any more."""
        # Not waited for: work that hangs would keep the process.
        self._thread.shutdown(wait=False, cancel_futures=True)
        return not self._pending
