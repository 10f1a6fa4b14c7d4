"""Belongings of one event loop, which the next loop of the same client makes anew.

*shell.* A connection is read by the loop that opened it. A client that was kept for a second
`asyncio.run` answered "Event loop is closed" there.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

from sie_sdk.wire.per_process import Unshared

__all__ = ["PerLoop", "Unshared"]

_Owned = TypeVar("_Owned")
_ENDS_WITHIN_S: Final = 5.0
"""Another loop may be blocked by who waits for this very close: so long may it take."""


class PerLoop(Generic[_Owned]):
    """One belonging, made by `make` in the first loop that asks, and once that one is closed or
    the process was forked, in the next. Once it is let go there is none in any loop."""

    def __init__(self, make: Callable[[], _Owned]) -> None:
        self._make = make
        self._held: tuple[int, asyncio.AbstractEventLoop, _Owned] | None = None
        self._is_closed = False

    def here(self) -> _Owned:
        """That of the running loop. Raises `RuntimeError` while another loop has it, and once it
        was let go."""
        if self._is_closed:
            raise RuntimeError("this client has been closed: make another one")
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

    async def close(self, end: Callable[[_Owned], Coroutine[Any, Any, object]]) -> None:
        """Let it go for good, in every loop; `end` is called for what there is, and makes none.

        In the loop that has it where that one runs, in another thread too, and else in this one.
        """
        self._is_closed = True
        held, self._held = self._held, None
        if held is None:
            return
        process, loop, made = held
        if process != os.getpid():
            return  # the parent has it
        if loop.is_closed():
            # What it left open, nobody can end in order any more.
            with suppress(RuntimeError):
                await end(made)
        elif loop.is_running() and loop is not asyncio.get_running_loop():
            ending = asyncio.run_coroutine_threadsafe(end(made), loop)
            try:
                await asyncio.wait_for(asyncio.wrap_future(ending), _ENDS_WITHIN_S)
            except TimeoutError:
                raise RuntimeError(
                    "the event loop that has this client's connections does not get to ending "
                    "them: close the client there"
                ) from None
        else:
            await end(made)
