"""The store: the log file for a process that runs a loop.

*shell.* Owns the one thread that may touch the writing connection. Promises that calls reach the
file in the order they were made, and that a call which was started finishes even if its caller is
cancelled: a commit is never half awaited. Does not decide what is written.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sie_config.log_file import KeyRow, LogFile
from sie_config.replay import Replayed, replay
from sie_schemas.entry import Entry
from sie_schemas.errors import SIEError

__all__ = ["Store"]

T = TypeVar("T")


class Store:
    """A log file behind its thread. Made by `open`; closed once by its owner."""

    def __init__(self, file: LogFile, thread: ThreadPoolExecutor) -> None:
        self._file = file
        self._thread = thread
        self.commits = 0
        """Groups that were written: fewer than writes where writes came together."""

    @classmethod
    async def open(cls, path: Path, *, bytes_max: int = 0) -> "Store":
        """Open or create the file. Raises as `LogFile.open`."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-writer")
        try:
            file = await asyncio.get_running_loop().run_in_executor(
                thread, lambda: LogFile.open(path, bytes_max=bytes_max)
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(file, thread)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._file.path

    @property
    def failed(self) -> SIEError | None:
        """Why this process may not write any more; None while it may."""
        return self._file.failed

    async def replay(self) -> Replayed:
        """Verify and fold the whole log. Damage is in the result, not raised."""
        return await self._run(lambda: replay(self._file.verified()))

    async def append(self, entries: Sequence[Entry], keys: Sequence[KeyRow] = ()) -> None:
        """Write a group in one durable transaction. Raises as `LogFile.append`."""
        await self._run(lambda: self._file.append(entries, keys))
        self.commits += 1

    async def key_row(self, actor: str, key: str) -> KeyRow | None:
        """What was stored for an idempotency key."""
        return await self._run(lambda: self._file.key_row(actor, key))

    async def low_water(self) -> int:
        """The first epoch that is served as a delta."""
        return await self._run(self._file.low_water)

    async def move_low_water(self, epoch: int) -> None:
        """Move the mark up."""
        await self._run(lambda: self._file.move_low_water(epoch))

    async def bound(self, bytes_max: int) -> None:
        """Set the largest size of the file; 0 is no bound."""
        await self._run(lambda: self._file.bound(bytes_max))

    async def close(self) -> None:
        """Close the file and give up the lock."""
        await self._run(self._file.close)
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, call)
        return await asyncio.shield(future)
