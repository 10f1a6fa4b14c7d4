"""Keepers of leases: renew what a client leased, in a thread or in a task, until it is closed.

*shell.* Each owns the one `Renewals` of its client. Promises that a keeper which has nothing to
renew does not run, and that a close ends it at once. A lease that is lost is said in the log:
nobody else would notice.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final

from sie_schemas.errors import SIEError
from sie_sdk.leases.calls import Failure, Held, Renewals

__all__ = ["AsyncLeaseKeeper", "LeaseKeeper"]

_LOG: Final = logging.getLogger(__name__)
_CLOSE_S: Final = 5.0
"""A thread that waits ends at once. One in the midst of a renewal waits for its gateway, as
long as a request may take. It is a daemon, and ends with the process."""


class LeaseKeeper:
    """Renews in a daemon thread. `renew` sends one renewal, and raises `SIEError`."""

    def __init__(self, renew: Callable[[str], object]) -> None:
        self._renew = renew
        self._renewals = Renewals()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def hold(self, name: str, *, ttl_s: float) -> None:
        """Renew this lease from now on."""
        with self._changed:
            self._renewals.hold(name, ttl_s=ttl_s, now=time.monotonic())
            self._changed.notify()
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="sie-leases", daemon=True)
                self._thread.start()

    def forget(self, name: str) -> None:
        """Renew it no more."""
        with self._changed:
            self._renewals.forget(name)

    def close(self) -> None:
        """Renew nothing any more; leases then end by themselves."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            # Outside the lock: the thread takes it to see that it is closed.
            thread.join(_CLOSE_S)

    def _run(self) -> None:
        while (due := self._wait()) is not None:
            for held in due:
                self._renew_one(held)

    def _wait(self) -> list[Held] | None:
        """The leases that are due, perhaps none yet; None when there is nothing to do any more."""
        with self._changed:
            wait_s = self._renewals.wait_s(time.monotonic())
            if self._closed or wait_s is None:
                # Under the lock: a `hold` that comes now starts a thread of its own.
                self._thread = None
                return None
            self._changed.wait(wait_s)
            return [] if self._closed else self._renewals.due(time.monotonic())

    def _renew_one(self, held: Held) -> None:
        try:
            # Not under the lock: it waits for the gateway, and `hold` and `forget` must not.
            self._renew(held.name)
        except SIEError as error:
            with self._changed:
                failure = self._renewals.failed(held, error, now=time.monotonic())
            _say_failed(held.name, error, failure)
        else:
            with self._changed:
                self._renewals.renewed(held, now=time.monotonic())


class AsyncLeaseKeeper:
    """The same in a task of the running loop."""

    def __init__(self, renew: Callable[[str], Awaitable[object]]) -> None:
        self._renew = renew
        self._renewals = Renewals()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hold(self, name: str, *, ttl_s: float) -> None:
        """Renew this lease from now on."""
        self._renewals.hold(name, ttl_s=ttl_s, now=time.monotonic())
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="sie-leases")

    def forget(self, name: str) -> None:
        """Renew it no more."""
        self._renewals.forget(name)

    async def close(self) -> None:
        """Renew nothing any more; leases then end by themselves."""
        if self._task is not None:
            self._task.cancel()
            # In a loop that rests it ends when that one runs on.
            if self._task.get_loop() is asyncio.get_running_loop():
                await asyncio.wait([self._task])

    async def _run(self) -> None:
        while (wait_s := self._renewals.wait_s(time.monotonic())) is not None:
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                for held in self._renewals.due(time.monotonic()):
                    await self._renew_one(held)

    async def _renew_one(self, held: Held) -> None:
        try:
            await self._renew(held.name)
        except SIEError as error:
            failure = self._renewals.failed(held, error, now=time.monotonic())
            _say_failed(held.name, error, failure)
        else:
            self._renewals.renewed(held, now=time.monotonic())


def _say_failed(name: str, error: SIEError, failure: Failure) -> None:
    if failure == "lost":
        _LOG.error("the lease %r is lost: %s", name, error.message)
    elif failure == "again":
        _LOG.warning("the lease %r was not renewed, and is tried again: %s", name, error.message)
    # Nothing of one that was forgotten meanwhile: its user ended it.
