"""A WebSocket within bounds.

*shell* inside uvicorn. What a client may send us is small. Compressed frames are not taken, since a
few bytes may stand for any number. Who does not read is not read from either: each ping wants an
answer. The connection has its place like any other. It reaches into the library's protocol, whose
version is bounded for that reason.
"""

from typing import Any

from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

__all__ = ["BoundedWebSocket"]


class BoundedWebSocket(WSProtocol):
    """One connection. Owner: the loop; `config` has the `account`."""

    is_waiting = False
    unread_bytes = 0
    """It never makes room, and who does not read is not written to: of each there is little."""

    def __init__(self, config: Any, *args: Any, **named: Any) -> None:
        super().__init__(config, *args, **named)
        self._account = config.account
        self.address = ""
        self.since = self.loop.time()
        self._unsent = 0

    def connection_made(self, transport: Any) -> None:
        """It comes from the HTTP protocol, which had the place before."""
        super().connection_made(transport)
        self._account.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """As the library's."""
        self._account.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read."""
        super().pause_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """As the library's."""
        message = await super().receive()
        if not self.writable.is_set() and not self.transport.is_closing():
            self.transport.pause_reading()
        return message

    def look(self, now: float) -> None:
        """Cut off who has read nothing for too long. Called by the account."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self.since = unsent, now
        if unsent and now - self.since > self._account.bounds.http_write_s:
            self.transport.abort()

    def send_away(self) -> None:
        """It never makes room: watchers have a share of their own."""
