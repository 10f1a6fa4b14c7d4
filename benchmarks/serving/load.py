"""A closed loop of HTTP requests over raw sockets, in one thread.

*shell.* So many connections, each of which sends its next request when the answer to the one before
it is complete. It costs a few per cent of a core at a thousand requests a second, and that is
measured too, for it shares the cores with the server. A request counts in a window by the part of
its time that lies in it, so that a window may be short beside an answer's time.
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Answered", "LoadError", "Window", "drive", "post"]

_CONNECT_S: Final = 10.0
"""A server that is ready accepts at once; a full backlog repeats after 1, 3 and 7 seconds."""
_SILENCE_S: Final = 120.0
"""Many times the slowest answer of a full queue; a server that hangs ends the run, with its
name."""
_READ_BYTES: Final = 1 << 18
"""A list of 32 vectors as JSON has about 260 kB: one or two reads an answer."""


class LoadError(Exception):
    """A server answered with an error, or not at all."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request that was answered: its place in the list of requests, and its times."""

    place: int
    sent: float
    done: float


@dataclass(frozen=True, slots=True)
class Window:
    """The answers that came in a window. Times are of `time.perf_counter`."""

    seconds: float
    requests: float
    """Answered in the window, by the share of each one's time that lies in it."""
    answered: int
    """All that were answered, before and after the window too."""
    latencies: list[float]
    """Seconds, of the requests that ran in the window; there are some however short it is."""
    processor_s: float
    """The seconds of processor that the load generator itself used."""
    bodies: dict[int, bytes]
    """The last answer to each request, by its place."""


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    place: int = 0
    sent: float = 0.0
    data: bytearray = field(default_factory=bytearray)
    wanted: int = 0
    """Bytes of the whole answer, once its head was read."""

    def send(self, place: int, request: bytes) -> None:
        self.place, self.wanted = place, 0
        self.data.clear()
        self.sent = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Read what is there; True when the answer is complete."""
        read = self.socket.recv(_READ_BYTES)
        if not read:
            raise LoadError("the server closed a connection")
        self.data += read
        if not self.wanted:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.wanted = end + 4 + _content_length(bytes(self.data[:end]))
        return len(self.data) >= self.wanted

    @property
    def body(self) -> bytes:
        """The answer's body. Raises `LoadError` for another status than 200."""
        head, _, body = bytes(self.data).partition(b"\r\n\r\n")
        if head[9:12] != b"200":
            raise LoadError(f"status {head[9:12].decode()}: {body[:300]!r}")
        return body


def post(path: str, body: bytes, *headers: str) -> bytes:
    """The bytes of one request; each header is a line."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"accept: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    return "".join((head, *(f"{line}\r\n" for line in headers), "\r\n")).encode() + body


def drive(
    port: int, requests: Sequence[bytes], *, concurrency: int, warm_s: float, seconds: float
) -> Window:
    """Load a server of loopback for `warm_s`, then for the window. Raises `LoadError`.

    The load goes on until everything that was sent in the window is answered.
    """
    poll = select.epoll()
    connections: dict[int, _Connection] = {}
    answered: list[Answered] = []
    bodies: dict[int, bytes] = {}
    began = time.perf_counter()
    start, stop = began + warm_s, began + warm_s + seconds
    processor_s = time.process_time()
    try:
        for place in range(concurrency):
            connection = _Connection(_connect(port))
            connections[connection.socket.fileno()] = connection
            poll.register(connection.socket, select.EPOLLIN)
            connection.send(place % len(requests), requests[place % len(requests)])
        following = concurrency
        while any(each.sent < stop for each in connections.values()):
            ready = poll.poll(_SILENCE_S)
            if not ready:
                raise LoadError(f"no answer in {_SILENCE_S:g} s")
            for descriptor, _ in ready:
                connection = connections[descriptor]
                if not connection.receive():
                    continue
                answered.append(Answered(connection.place, connection.sent, time.perf_counter()))
                bodies[connection.place] = connection.body
                place, following = following % len(requests), following + 1
                connection.send(place, requests[place])
    finally:
        processor_s = time.process_time() - processor_s
        for each in connections.values():
            each.socket.close()
        poll.close()
    share = seconds / (time.perf_counter() - began)
    return Window(
        seconds=seconds,
        answered=len(answered),
        requests=sum(_overlap(each, start, stop) for each in answered),
        latencies=[each.done - each.sent for each in answered if _overlap(each, start, stop)],
        processor_s=processor_s * share,
        bodies=bodies,
    )


def _overlap(answered: Answered, start: float, stop: float) -> float:
    inside = min(answered.done, stop) - max(answered.sent, start)
    return max(0.0, inside) / (answered.done - answered.sent)


def _connect(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.settimeout(_SILENCE_S)
    os.set_inheritable(made.fileno(), False)
    return made


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise LoadError("an answer without content-length")
