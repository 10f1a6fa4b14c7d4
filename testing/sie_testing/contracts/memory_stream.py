"""A config stream in memory: what the broker promises of it, and what it can do to its users.

*shell.* Keeps sequence and epoch one number exactly as JetStream does with an expected last
sequence. A test may take the bus away, lose an acknowledgement, lose the tail, or write to it as
somebody else.
"""

from sie_runtime.broker.bus import BusUnavailable
from sie_runtime.streams.log_stream import StreamTip, WrongLastSequence

__all__ = ["MemoryStream"]


class MemoryStream:
    """One log's stream. `messages` is its content, by sequence."""

    def __init__(self) -> None:
        self.messages: dict[int, bytes] = {}
        self.connected = True
        self.recreated = 0
        self._acknowledgements_to_lose = 0
        self._exists = False
        self._first = 1
        self._last = 0
        self._metadata: dict[str, str] = {}

    async def ensure(self, *, first_epoch: int, metadata: dict[str, str]) -> StreamTip:
        """Make the stream if it is not there."""
        self._require_connected()
        if not self._exists:
            self._exists = True
            self._first, self._last = first_epoch, first_epoch - 1
            self._metadata = metadata
        return self._tip()

    async def tip(self) -> StreamTip | None:
        """The ends of the stream; None if there is none."""
        self._require_connected()
        return self._tip() if self._exists else None

    async def append(self, epoch: int, data: bytes) -> None:
        """Store at sequence `epoch`, or refuse."""
        self._require_connected()
        if not self._exists:
            raise BusUnavailable("the config stream is not there, or has no leader")
        if self._last != epoch - 1:
            raise WrongLastSequence(self._last)
        self.put(epoch, data)
        if self._acknowledgements_to_lose:
            self._acknowledgements_to_lose -= 1
            raise BusUnavailable("the acknowledgement was lost")

    async def read(self, epoch: int) -> bytes | None:
        """The message at a sequence; None if there is none."""
        self._require_connected()
        return self.messages.get(epoch)

    async def read_range(self, after: int, until: int) -> list[bytes]:
        """Messages after `after` up to `until`, as far as they are there without a gap."""
        self._require_connected()
        found: list[bytes] = []
        while (data := self.messages.get(after + len(found) + 1)) and len(found) < until - after:
            found.append(data)
        return found

    async def trim(self, first_epoch: int) -> StreamTip:
        """Drop what is older than `first_epoch`; the newest message stays."""
        self._require_connected()
        first = min(first_epoch, self._last)
        self.messages = {epoch: data for epoch, data in self.messages.items() if epoch >= first}
        self._first = max(self._first, first)
        return self._tip()

    async def recreate(self, *, first_epoch: int, metadata: dict[str, str]) -> StreamTip:
        """Delete the stream and make it anew."""
        self._require_connected()
        self.wipe()
        self.recreated += 1
        return await self.ensure(first_epoch=first_epoch, metadata=metadata)

    def put(self, epoch: int, data: bytes) -> None:
        """Store a message whoever sends it: sequences are the broker's, contents are not."""
        self._exists = True
        if not self.messages:
            self._first = epoch
        self.messages[epoch] = data
        self._last = max(self._last, epoch)

    def lose_acknowledgements(self, count: int) -> None:
        """Store the next appends, and answer as if they had timed out."""
        self._acknowledgements_to_lose = count

    def lose_tail(self, last: int) -> None:
        """Forget everything after `last`: what a broker does that lost its unsynced tail."""
        self.messages = {epoch: data for epoch, data in self.messages.items() if epoch <= last}
        self._last = last

    def wipe(self) -> None:
        """Delete the stream."""
        self.messages = {}
        self._exists = False
        self._first, self._last = 1, 0

    def _tip(self) -> StreamTip:
        return StreamTip(self._first, self._last, dict(self._metadata))

    def _require_connected(self) -> None:
        if not self.connected:
            raise BusUnavailable("the message broker is not connected")
