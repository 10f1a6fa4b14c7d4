"""One connection of the sidecar: frames in, replies out.

*shell*: owns one stream. Promises `Hello` first and one reply for each request by its id, in
whatever order they end. A `Pong` of id 0 comes between them where `tell` is called. A frame that
cannot be read ends this connection with one log line. A peer that does not read its replies is not
read from either. When a peer is gone, what it asked for and has not begun is not run. A connection
that is to carry batches only is handed over to the device's thread (`batches`), and is over here.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final, cast

from sie_schemas import ipc
from sie_schemas.malformed import MALFORMED
from sie_server.execution.execution import DeviceRequest

__all__ = ["Connection"]

_LOG: Final = logging.getLogger(__name__)


class _Unreadable(Exception):
    """The peer does not speak this protocol."""


class Connection:
    """Runs until the peer goes, sends what cannot be read, or `finish` is called."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        answer: Callable[[DeviceRequest], Awaitable[ipc.Reply]],
        pong: Callable[[int], ipc.Pong],
        hand_over: Callable[[ipc.Batches, socket.socket], None],
        frame_bytes_max: int,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._pong = pong
        self._hand_over = hand_over
        """Has the device's thread read the connection from now on."""
        self._frame_bytes_max = frame_bytes_max
        self._replies: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def run(self, hello: ipc.Hello) -> None:
        """Greet, then serve requests."""
        self._writer.write(ipc.encode(hello))
        try:
            async with asyncio.TaskGroup() as group:
                await self._read_requests(group)
                # Nobody is left to answer.
                for reply in self._replies:
                    reply.cancel()
        finally:
            self._writer.close()
            self._over.set()

    def tell(self, pong: ipc.Pong) -> None:
        """Say what is resident without being asked."""
        if not self._writer.is_closing():
            self._writer.write(ipc.encode(pong))

    async def finish(self) -> None:
        """Write every reply that is due, then end the connection."""
        while self._replies:
            await asyncio.wait(self._replies)
        # What was written is still sent.
        self._writer.close()
        await self._over.wait()

    async def _read_requests(self, group: asyncio.TaskGroup) -> None:
        try:
            while True:
                request = ipc.decode_request(await self._frame())
                if isinstance(request, ipc.Ping):
                    self._writer.write(ipc.encode(self._pong(request.id)))
                elif isinstance(request, ipc.Batches):
                    self._leave_to_device(request)
                    return
                else:
                    reply = group.create_task(self._reply(request))
                    self._replies.add(reply)
                    reply.add_done_callback(self._replies.discard)
                # Waits where the peer lets its replies pile up.
                await self._writer.drain()
        except (_Unreadable, *MALFORMED) as error:
            _LOG.warning("a connection is closed: its peer sent an unreadable frame: %s", error)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                _LOG.warning("a connection ended in the middle of a frame")
        except ConnectionError:
            pass

    def _leave_to_device(self, request: ipc.Batches) -> None:
        # uvloop's transports are of no class of asyncio's.
        transport = cast(asyncio.Transport, self._writer.transport)
        # Its peer waits for the answer to this one: nothing of what follows was read here.
        transport.pause_reading()
        # A number of our own: the loop closes its one with the transport, while the device still
        # reads.
        number = os.dup(transport.get_extra_info("socket").fileno())
        self._hand_over(request, socket.socket(fileno=number))

    async def _frame(self) -> bytes:
        header = await self._reader.readexactly(ipc.FRAME_HEADER.size)
        (size,) = ipc.FRAME_HEADER.unpack(header)
        if size > self._frame_bytes_max:
            raise _Unreadable(f"{size} bytes long; at most {self._frame_bytes_max} are read")
        return await self._reader.readexactly(size)

    async def _reply(self, request: DeviceRequest) -> None:
        self._writer.write(ipc.encode(await self._answer(request)))
