"""Work aside: a few threads for one kind of call that would hold up the loop.

*shell.* Nothing here uses the loop's own pool, which all of a process shares. A few long calls that
clients asked for would keep the process from what it lives by, its end included. Promises that one
kind of call waits for no other, and that at the end what still waits is dropped. With one thread,
calls run one after another, in order. Threads begin with the first calls.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["Aside"]

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """The threads of one kind of call, ended by its owner."""

    def __init__(self, name: str, *, threads: int = 1) -> None:
        self._threads = ThreadPoolExecutor(threads, name)

    async def run(self, call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Run `call` there. A caller that is cancelled takes it back, if it has not begun."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(call, *args, **named))

    def end(self) -> None:
        """Drop what waits, and let the threads end after the calls that run."""
        self._threads.shutdown(wait=False, cancel_futures=True)
