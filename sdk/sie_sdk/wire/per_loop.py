"""Belongings of one event loop, which the next loop of the same client makes anew.

*shell.* A connection is read by the loop that opened it. A client that was kept for a second
`asyncio.run` answered "Event loop is closed" there.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Generic, TypeVar

from sie_sdk.wire.per_process import Unshared

__all__ = ["PerLoop", "Unshared"]

_Owned = TypeVar("_Owned")


class PerLoop(Generic[_Owned]):
    """One belonging, made by `make` in the first loop that asks, and once that one is closed or
    the process was forked, in the next."""

    def __init__(self, make: Callable[[], _Owned]) -> None:
        self._make = make
        self._held: tuple[int, asyncio.AbstractEventLoop, _Owned] | None = None

    def here(self) -> _Owned:
        """That of the running loop. Raises `RuntimeError` while another loop has it."""
        process, loop = os.getpid(), asyncio.get_running_loop()
        if self._held is not None:
            its_process, its_loop, made = self._held
            if its_process == process and its_loop is loop:
                return made
            if its_process == process and not its_loop.is_closed():
                raise RuntimeError(
                    "this client belongs to another event loop, which is not closed: make a "
                    "client in each loop"
                )
        made = self._make()
        self._held = (process, loop, made)
        return made
