"""The store: the log file for a process that runs a loop.

*shell.* Owns the one thread that may touch the writing connection. Promises that calls reach the
file in the order they were made. A call that was started finishes even if its caller is cancelled:
a commit is never half awaited. Does not decide what is written.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from sie_config.log.checkpoint import start_from
from sie_config.log.log_file import LogFile
from sie_config.log.log_rows import KeyRow
from sie_config.log.own_thread import OwnThread
from sie_config.log.replay import Replayed, replay
from sie_config.log.storage_faults import StorageFailed, StorageFull
from sie_core.chain import position_of
from sie_schemas.entry import Entry
from sie_schemas.errors import SIEError
from sie_schemas.snapshot import Snapshot

__all__ = ["Store"]


class Store:
    """A log file behind its thread. Made by `open`; closed once by its owner."""

    def __init__(self, file: LogFile, thread: OwnThread) -> None:
        self._file = file
        self._thread = thread

    @classmethod
    async def open(cls, path: Path, *, bytes_max: int = 0) -> "Store":
        """Open or create the file; on a disk that takes nothing, open it to read if that can be.

        Raises as `LogFile.open`.
        """
        thread = OwnThread("log-writer")
        try:
            file = await thread.run(lambda: _opened(path, bytes_max))
        except BaseException:
            thread.end()
            raise
        return cls(file, thread)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._file.path

    @property
    def read_only(self) -> bool:
        """True if the disk took nothing at the start; `failed` says why."""
        return self._file.read_only

    async def try_to_write(self) -> None:
        """Open the file to be written, and close it. Raises as `LogFile.open`."""
        await self._thread.run(lambda: LogFile.open(self.path).close())

    @property
    def failed(self) -> SIEError | None:
        """The error for which this process may not write any more; None while it may."""
        return self._file.failed

    async def replay(self, checkpoint: Callable[[], Snapshot | None] | None = None) -> Replayed:
        """Verify and fold the log: what follows the checkpoint if the log bears it out, else all.

        Damage is in the result, not raised.
        """
        return await self._thread.run(lambda: self._replay(checkpoint() if checkpoint else None))

    async def append(self, entries: Sequence[Entry], keys: Sequence[KeyRow] = ()) -> None:
        """Write a group in one durable transaction. Raises as `LogFile.append`."""
        await self._thread.run(lambda: self._file.append(entries, keys))

    async def look(self) -> None:
        """Raise `Untrusted` when the files are no longer its own; the first time only."""
        await self._thread.run(self._file.look)

    async def key_row(self, actor: str, key: str) -> KeyRow | None:
        """The row that was stored for an idempotency key."""
        return await self._thread.run(lambda: self._file.key_row(actor, key))

    async def low_water(self) -> int:
        """The first epoch that is served as a delta."""
        return await self._thread.run(self._file.low_water)

    async def move_low_water(self, epoch: int) -> None:
        """Move the mark up."""
        await self._thread.run(lambda: self._file.move_low_water(epoch))

    async def bound(self, bytes_max: int) -> None:
        """Set the largest size of the file; 0 is no bound."""
        await self._thread.run(lambda: self._file.bound(bytes_max))

    async def close(self) -> None:
        """Close the file and give up the lock."""
        await self._thread.run(self._file.close)
        self._thread.end()

    def _replay(self, checkpoint: Snapshot | None) -> Replayed:
        if checkpoint is not None:
            start = start_from(self._file.connection, checkpoint)
            if start is not None and start.last is not None:
                return replay(self._file.verified(position_of(start.last)), start)
        return replay(self._file.verified())


def _opened(path: Path, bytes_max: int) -> LogFile:
    try:
        return LogFile.open(path, bytes_max=bytes_max)
    except (StorageFull, StorageFailed) as error:
        return LogFile.open_to_read(path, error)
