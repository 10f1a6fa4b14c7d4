"""The head file: the newest position, written beside the log and not in it.

*shell.* A small file that is replaced whole. It lags the log and never leads it, so that a crash
leaves a head file that the log confirms. A log that ends before its head file has lost its tail.
"""

import os
from pathlib import Path

import msgspec

from sie_config.log.witnesses import Claim
from sie_core.chain import Position
from sie_runtime.process.aside import Aside
from sie_schemas.errors import Untrusted
from sie_schemas.malformed import MALFORMED

__all__ = ["HeadFile"]


class _Head(msgspec.Struct, frozen=True):
    log_id: str
    epoch: int
    hash: str


class HeadFile:
    """The sibling `.head` of one log file."""

    def __init__(self, log_path: Path) -> None:
        self._path = log_path.with_name(log_path.name + ".head")
        self._written: Position | None = None
        self._thread = Aside("head-file")

    def read(self) -> Claim | None:
        """The claim in the file; None if there is none. Raises `Untrusted` if it cannot be read."""
        try:
            head = msgspec.json.decode(self._path.read_bytes(), type=_Head)
        except FileNotFoundError:
            return None
        except (OSError, *MALFORMED) as error:
            raise Untrusted(
                f"{self._path} cannot be read: {error}. If the log beside it is known to be whole, "
                "remove this file and start again"
            ) from error
        return Claim(f"the file {self._path}", head.log_id, head.epoch, head.hash)

    async def write(self, position: Position, *, again: bool = False) -> None:
        """Replace the file, off the loop, if the position is new or `again`. Raises `OSError`."""
        if position == self._written and not again:
            return
        await self._thread.run(self.replace, position)
        self._written = position

    def replace(self, position: Position) -> None:
        """Replace the file, and have it on disk at return. Raises `OSError`."""
        data = msgspec.json.encode(_Head(position.log_id, position.epoch, position.hash))
        fresh = self._path.with_name(self._path.name + ".new")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # A crash before this line leaves the older head, which the log confirms as well.
        fresh.replace(self._path)

    def remove(self) -> None:
        """Give up what it says: a log is begun of which it knows nothing. Raises `OSError`."""
        self._path.unlink(missing_ok=True)
        self._written = None
