"""Connections that carry batches only: the device's thread reads, runs and answers them itself.

*shell*: owns these connections and the pipe that calls the thread away from them. So a batch that
comes while nothing else is in hand costs no change of thread. Promises:

- Batches of a connection run in the order in which they came.
- What is submitted to the device runs between two of them.
- What was asked for by a peer who is gone is not run.

A frame that cannot be read, or a peer that does not take its replies for `_SEND_S`, ends its
connection. `serve` and `finish` are called on the device's thread.
"""

import logging
import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from sie_schemas import ipc
from sie_schemas.ipc.frames import Frames, FrameTooLong
from sie_schemas.malformed import MALFORMED

__all__ = ["BatchConnections", "Send"]

_LOG: Final = logging.getLogger(__name__)
_READ_BYTES: Final = 1 << 18
"""A batch of a megabyte comes in a few reads."""
_SEND_S: Final = 10
"""A sidecar takes its replies in milliseconds; one that is stopped must not hold the device."""
_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL

Send = Callable[[ipc.Reply], None]


class _Connection:
    """One peer. `send` may be called from any thread."""

    def __init__(self, peer: socket.socket, *, frame_bytes_max: int) -> None:
        peer.setblocking(True)
        # Of the system: a timeout of Python's makes the socket non-blocking, with a poll before
        # each read.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_S, 0))
        self.peer = peer
        self.frames = Frames(bytes_max=frame_bytes_max)
        self._sending = threading.Lock()

    def send(self, reply: ipc.Reply) -> None:
        try:
            with self._sending:
                self.peer.sendall(ipc.encode(reply))
        except OSError as error:
            _LOG.warning("a reply is lost with its connection: %s", error)
            # Whoever reads next finds it gone.
            with suppress(OSError):
                self.peer.shutdown(socket.SHUT_RDWR)


class BatchConnections:
    """`run` answers one batch by what it is given, now or later."""

    def __init__(self, run: Callable[[ipc.RunBatch, Send], None], *, frame_bytes_max: int) -> None:
        self._run = run
        self._frame_bytes_max = frame_bytes_max
        self._connections: dict[int, _Connection] = {}
        """By file descriptor."""
        self._adopted: deque[_Connection] = deque()
        """Those that are not among them yet."""
        self._came: deque[tuple[_Connection, bytes]] = deque()
        """Frames that were read and are not run yet."""
        self._poll = select.poll()
        self._called, self._call = os.pipe()
        os.set_blocking(self._call, False)
        self._poll.register(self._called, select.POLLIN)

    def interrupt(self) -> None:
        """Have `serve` return, now or when it is next called; from any thread."""
        # A pipe that is full says so already.
        with suppress(BlockingIOError):
            os.write(self._call, b"!")

    def adopt(self, peer: socket.socket, greeting: ipc.Reply) -> None:
        """Greet a peer, and serve it as soon as the device is free; from any thread."""
        connection = _Connection(peer, frame_bytes_max=self._frame_bytes_max)
        connection.send(greeting)
        self._adopted.append(connection)
        self.interrupt()

    def serve(self) -> None:
        """Run batches as they come, until `interrupt`."""
        while not self._look(wait=not self._came):
            self._run_next()

    def finish(self) -> None:
        """Run what has come by now, and end every connection."""
        self._look(wait=False)
        while self._came:
            self._run_next()
        for connection in list(self._connections.values()):
            self._drop(connection)

    def _look(self, *, wait: bool) -> bool:
        """Read what has come. Whether the thread is called away."""
        called = False
        while self._adopted:
            connection = self._adopted.popleft()
            self._connections[connection.peer.fileno()] = connection
            self._poll.register(connection.peer, select.POLLIN)
        for number, events in self._poll.poll(None if wait else 0):
            if number == self._called:
                os.read(self._called, select.PIPE_BUF)
                called = True
            elif events & _GONE:
                self._drop(self._connections[number])
            else:
                self._read(self._connections[number])
        return called

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.peer.recv(_READ_BYTES)
            bodies = connection.frames.feed(data) if data else None
        except (OSError, FrameTooLong) as error:
            _LOG.warning("a connection is closed: %s", error)
            bodies = None
        if bodies is None:
            self._drop(connection)
        else:
            self._came += [(connection, body) for body in bodies]

    def _run_next(self) -> None:
        if not self._came:
            return
        connection, body = self._came.popleft()
        try:
            request = ipc.decode_request(body)
            if not isinstance(request, ipc.RunBatch):
                raise msgspec.ValidationError(f"a {type(request).__name__} where a batch belongs")
        except MALFORMED as error:
            _LOG.warning("a connection is closed: its peer sent an unreadable frame: %s", error)
            self._drop(connection)
            return
        self._run(request, connection.send)

    def _drop(self, connection: _Connection) -> None:
        """End a connection; what it asked for and has not begun is not run."""
        number = connection.peer.fileno()
        if self._connections.pop(number, None) is not None:
            self._poll.unregister(number)
            connection.peer.close()
        self._came = deque(each for each in self._came if each[0] is not connection)
