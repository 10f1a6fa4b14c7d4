"""Overdue: what waits, oldest first, and who is told when it has waited too long.

*shell.* All that is in one `Overdue` wait for the same time, so that they are due in the order in
which they came. One timer of the loop does for all: a timer for each would cost a hot path more
than what it waits for. Promises that each thing that was added is given back once, to who took it
out or to `tell`. Owner: one loop.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Overdue"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class Overdue(Generic[Key, Value]):
    """`tell` is called in the loop with what waited for `after_s`, and does not raise."""

    def __init__(self, after_s: float, tell: Callable[[Key, Value], None]) -> None:
        self._after_s = after_s
        self._tell = tell
        self._waiting: dict[Key, tuple[float, Value]] = {}
        """With the time when each is due, on the clock of the loop."""
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key, value: Value) -> None:
        """Wait. The key is not waiting yet."""
        loop = self._loop
        if loop is None:
            # Asked once: to find it takes a call into the system.
            loop = self._loop = asyncio.get_running_loop()
        self._waiting[key] = (loop.time() + self._after_s, value)
        if self._timer is None:
            self._timer = loop.call_later(self._after_s, self._look)

    def pop(self, key: Key) -> Value | None:
        """Wait no longer; None where it does not wait."""
        found = self._waiting.pop(key, None)
        return None if found is None else found[1]

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        late = []
        for key, (due_at, _) in self._waiting.items():
            if due_at > now:
                # Whoever it was set for may be gone long since: it is set for the oldest of now.
                self._timer = loop.call_at(due_at, self._look)
                break
            late.append(key)
        for key in late:
            found = self._waiting.pop(key, None)
            if found is not None:
                self._tell(key, found[1])
