"""The load: so many clients that ask, read, check, and ask again, in a process of their own.

*main.* `python -m edge_figures.load PORT PATH`. It reads lines `CLIENTS SECONDS` and answers each
with one line of JSON. A client is a socket in one epoll: no client library is measured, and a
request costs the load about ten microseconds. Every client has a text of its own, and its answer
has to hold that text: as a vector of its bytes, or as it was sent.
"""

import json
import select
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

__all__ = ["DIMS"]

DIMS = 64
"""The text of a request has as many bytes: each is one float of the vector that has to come
back."""
_HEADER_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    request: bytes
    echoes: tuple[bytes, bytes]
    asked_at: float = 0.0
    received: bytes = b""

    def ask(self) -> None:
        self.received = b""
        self.asked_at = time.perf_counter()
        self.connection.sendall(self.request)


def _client(port: int, path: str, number: int) -> _Client:
    # About as long as a short question; the number makes it this client's own.
    text = f"{number:06d} which of these small models should answer this one?"[:DIMS]
    body = msgspec.msgpack.encode({"items": [{"text": text}]})
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/msgpack\r\n"
        f"accept: application/msgpack\r\nx-sie-sdk-version: sie-cluster/0.2.0\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    vector = np.frombuffer(text.encode().ljust(DIMS, b"\0"), "u1").astype("<f4").tobytes()
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Client(connection, head.encode() + body, (vector, body))


def _is_whole(received: bytes) -> bool:
    end = received.find(_HEADER_END)
    if end < 0:
        return False
    at = received.index(_LENGTH, 0, end) + len(_LENGTH)
    length = int(received[at : received.index(b"\r", at)])
    return len(received) >= end + len(_HEADER_END) + length


def _check(client: _Client) -> None:
    received = client.received
    if not received.startswith(b"HTTP/1.1 200") or not any(
        echo in received for echo in client.echoes
    ):
        raise RuntimeError(f"not the answer to {client.request!r}: {received[:1000]!r}")


def _run(clients: list[_Client], seconds: float) -> tuple[list[float], float]:
    """Every latency of a window, and how long the window was. Each client's last is read too."""
    epoll = select.epoll()
    by_number = {client.connection.fileno(): client for client in clients}
    for number in by_number:
        epoll.register(number, select.EPOLLIN)
    clock = time.perf_counter
    latencies: list[float] = []
    began = clock()
    ends_at = began + seconds
    for client in clients:
        client.ask()
    running = len(clients)
    while running:
        for number, _ in epoll.poll(30):
            client = by_number[number]
            data = client.connection.recv(1 << 16)
            if not data:
                raise RuntimeError("the server closed a connection")
            client.received += data
            if not _is_whole(client.received):
                continue
            now = clock()
            latencies.append(now - client.asked_at)
            _check(client)
            if now < ends_at:
                client.ask()
            else:
                running -= 1
    epoll.close()
    return latencies, clock() - began


def _told(clients: list[_Client], latencies: list[float], took_s: float) -> dict[str, Any]:
    ordered = sorted(latencies)
    return {
        "clients": len(clients),
        "requests": len(ordered),
        "requests_per_s": len(ordered) / took_s,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "max_ms": ordered[-1] * 1000,
    }


def main() -> None:
    """Answer lines until there are no more."""
    port, path = int(sys.argv[1]), sys.argv[2]
    for line in sys.stdin:
        count, seconds = line.split()
        # New connections each time: a server closes those that are idle between two windows.
        clients = [_client(port, path, number) for number in range(int(count))]
        told = _told(clients, *_run(clients, float(seconds)))
        for client in clients:
            client.connection.close()
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
