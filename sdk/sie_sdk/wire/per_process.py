"""Belongings of one process, which a forked one makes anew, and no other one is sent.

*shell.* A forked process has the sockets of its parent, and each would read answers that are the
other's; of its threads it has none.
"""

import os
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

__all__ = ["PerProcess", "Unshared"]

_Owned = TypeVar("_Owned")


class PerProcess(Generic[_Owned]):
    """One belonging, made by `make` at once and in each process that was forked since. Once it is
    let go there is none in any process that is forked from then on."""

    def __init__(self, make: Callable[[], _Owned]) -> None:
        self._make = make
        self._made = make()
        self._process = os.getpid()
        self._is_closed = False

    def here(self) -> _Owned:
        """That of the process that asks. Raises `RuntimeError` once it was let go."""
        if self._is_closed:
            raise RuntimeError("this client has been closed: make another one")
        process = os.getpid()
        if self._process != process:
            # In this order, so that a thread beside this one never gets the parent's.
            self._made = self._make()
            self._process = process
        return self._made

    def close(self, end: Callable[[_Owned], object]) -> None:
        """Let it go for good; `end` is called for what this process has, and makes none."""
        was_closed, self._is_closed = self._is_closed, True
        if not was_closed and self._process == os.getpid():
            end(self._made)


class Unshared:
    """An owner of connections, which says so to whoever pickles or copies it."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Raises `TypeError`."""
        name = type(self).__name__
        raise TypeError(
            f"a {name} is not pickled or copied, since its connections belong to one process: send "
            f"its address, and make a {name} where it is used"
        )
