"""The broker's bytes as messages, all that have come in one pass.

*shell* inside the client. The library's parser tries seven patterns on each message, copies its
parts, and moves what is left of the buffer to the front, twice. Here a message costs one split and
two slices. Promises the same messages in the same order however the bytes were cut; every other
line of the protocol is read by the library.
"""

from collections.abc import Callable
from typing import Any

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

__all__ = ["DirectParser", "Take", "headers_of"]

Take = Callable[[int, bytes, bytes, bytes, bytes], bool]
"""Takes number, subject, reply, data and headers of a message; False leaves it to the library."""

_LINE_END = b"\r\n"


class DirectParser(Parser):
    """Owner: the client's reading task."""

    def __init__(self, client: Any, take: Take) -> None:
        super().__init__(client)
        self._take = take

    def reset(self) -> None:
        """A new connection: what came over the old one is void."""
        super().reset()
        self._wanted = 0
        """How many bytes are needed before it is worth looking again."""

    async def parse(self, data: bytes = b"") -> None:
        """As the library's. Raises `ProtocolError`."""
        held = self.buf
        if held:
            held.extend(data)
            if len(held) < self._wanted:
                return
            data = bytes(held)
            held.clear()
        at = 0
        # Another buffer means another connection: the rest belongs to the old one.
        while at < len(data) and self.buf is held:
            end = data.find(_LINE_END, at)
            if end < 0:
                self._keep(data, at, 0)
                return
            words = data[at:end].split()
            if not words or words[0] not in (b"MSG", b"HMSG"):
                await super().parse(data[at : end + 2])
                at = end + 2
                continue
            number, head, size, reply = _parts(words)
            begin = end + 2
            stop = begin + size
            if stop + 2 > len(data):
                self._keep(data, at, stop + 2 - at)
                return
            at = stop + 2
            payload, headers = data[begin + head : stop], data[begin : begin + head]
            if not self._take(number, words[1], reply, payload, headers):
                await self.nc._process_msg(number, words[1], reply, payload, headers)

    def _keep(self, data: bytes, at: int, wanted: int) -> None:
        self.buf.extend(memoryview(data)[at:])
        self._wanted = wanted


def headers_of(raw: bytes) -> dict[str, str]:
    """The headers of a message, a status of the broker among them as `Status`."""
    first, *lines = raw.decode("utf-8", "replace").split("\r\n")
    status = first.removeprefix("NATS/1.0").strip()
    headers = {"Status": status[:3]} if status else {}
    for line in lines:
        name, separator, value = line.partition(":")
        if separator:
            headers[name] = value.strip()
    return headers


def _parts(words: list[bytes]) -> tuple[int, int, int, bytes]:
    """Number of the subscription, bytes of the headers, bytes of all, and the reply subject."""
    fixed = 4 if words[0] == b"MSG" else 5
    try:
        head = 0 if fixed == 4 else int(words[-2])
        return int(words[2]), head, int(words[-1]), words[3] if len(words) > fixed else b""
    except (IndexError, ValueError) as error:
        raise ProtocolError("nats: malformed MSG") from error
