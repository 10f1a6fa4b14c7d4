"""Results that come in chunks, put together under a budget of bytes.

*pure.* Promises:

- The room for a whole result is kept free from its first chunk on: two half results never wait for
  each other's room.
- What is held stays within the budget. A single result may be above it while nothing else is held.
- A result is given only when all its bytes are there.

A chunk that comes twice counts once. One that does not fit what the first said of the whole is
refused: the room is kept for that, and for no more.
"""

from dataclasses import dataclass, field

from sie_schemas.jobs import ResultChunk

__all__ = ["Chunks", "Misfit", "NoRoom"]


class NoRoom(Exception):
    """The budget is used: the worker offers the chunk again."""


class Misfit(Exception):
    """A chunk of another result than its transfer began with: its sender is at fault."""


@dataclass(slots=True)
class _Transfer:
    """One attempt at one job: the chunks that came, by index."""

    transfer: str
    size: int
    count: int
    parts: dict[int, bytes] = field(default_factory=dict)
    held: int = 0
    """Bytes of the parts."""

    def put(self, chunk: ResultChunk) -> None:
        """Hold a chunk. Raises `Misfit`."""
        held = self.held - len(self.parts.get(chunk.index, b"")) + len(chunk.data)
        if (
            (chunk.size, chunk.count) != (self.size, self.count)
            or not 0 <= chunk.index < self.count
            or not chunk.data
            or held > self.size
        ):
            raise Misfit
        self.held = held
        self.parts[chunk.index] = chunk.data


class Chunks:
    """Results on their way, one transfer for each job. Owner: the dispatcher's inbox."""

    def __init__(self, *, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._transfers: dict[str, _Transfer] = {}
        self.reserved = 0
        """Bytes kept for the results on their way."""

    def take(self, chunk: ResultChunk) -> bytes | None:
        """Hold a chunk. The whole result when this was its last part, else None.

        Raises `NoRoom` when the result has to wait for others to end, and `Misfit`.
        """
        transfer = self._transfer(chunk)
        transfer.put(chunk)
        if len(transfer.parts) < transfer.count:
            return None
        self.forget(chunk.job_id)
        return b"".join(transfer.parts[index] for index in sorted(transfer.parts))

    def forget(self, job_id: str) -> None:
        """Nobody waits for the job any more, or it is whole."""
        transfer = self._transfers.pop(job_id, None)
        if transfer is not None:
            self.reserved -= transfer.size

    def _transfer(self, chunk: ResultChunk) -> _Transfer:
        found = self._transfers.get(chunk.job_id)
        if found is not None and found.transfer == chunk.transfer:
            return found
        # A newer attempt: the worker of the old one is gone, or began anew.
        self.forget(chunk.job_id)
        if self.reserved and self.reserved + chunk.size > self._bytes_max:
            raise NoRoom
        # All of it with the first chunk: taken chunk by chunk, two half results could fill the
        # budget and wait for each other for ever.
        self.reserved += chunk.size
        made = _Transfer(chunk.transfer, chunk.size, chunk.count)
        self._transfers[chunk.job_id] = made
        return made
