"""A link between two processes: a TCP proxy that can be cut, held and slowed.

*shell.* Owns one listening port and the connections through it. It never changes, drops or reorders
a byte inside a connection, because TCP does not either. What a partition does to TCP is that bytes
wait, or that the connection is reset. Mending lets waiting bytes go on.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final, Literal

__all__ = ["WAYS", "Link", "Way"]

_CHUNK: Final = 65_536
"""asyncio's own limit for a reader: more seldom comes at once."""
_LINGER_NOT: Final = struct.pack("ii", 1, 0)

Way = Literal["up", "down"]
"""From the one who connected to the target, and back."""
WAYS: Final[tuple[Way, ...]] = ("up", "down")


class Link:
    """See the module. Owner: the loop that opened it."""

    def __init__(self, name: str, target: int) -> None:
        """`target` is a port of loopback, where somebody may or may not listen."""
        self.name = name
        self.port = 0
        self._target = target
        self._cut = False
        self._delay_s = 0.0
        self._open: dict[Way, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.mend()

    @property
    def url(self) -> str:
        """The address to connect to, without a scheme."""
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Reset every connection and listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def mend(self) -> None:
        """Let everything through, what was held first."""
        self._cut, self._delay_s = False, 0.0
        for gate in self._open.values():
            gate.set()

    def cut(self) -> None:
        """Reset every connection, and each new one at once."""
        self.mend()
        self._cut = True
        for writer in self._writers:
            _reset(writer)

    def hold(self, *ways: Way) -> None:
        """Let bytes wait, one way or both: neither side can tell it from a slow peer."""
        for way in ways:
            self._open[way].clear()

    def slow(self, delay_s: float) -> None:
        """Deliver each piece this much later."""
        self._delay_s = delay_s

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError):
                await self._join(reader, writer)
        finally:
            self._writers.discard(writer)
            _reset(writer)
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open["up"].wait()
        if self._cut:
            return
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(target_writer)
        pumps = [
            asyncio.ensure_future(self._carry("up", reader, target_writer)),
            asyncio.ensure_future(self._carry("down", target_reader, writer)),
        ]
        try:
            # A connection that breaks on one side breaks on the other.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(target_writer)
            _reset(target_writer)

    async def _carry(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(_CHUNK):
            await self._open[way].wait()
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            writer.write(data)
            await writer.drain()
        await self._open[way].wait()
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without a goodbye: the other side sees a reset, and not an end."""
    if not writer.transport.is_closing():
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        writer.transport.abort()
