"""The broker's bytes as messages, all that have come in one pass.

*shell* inside the client. The library's parser tries seven patterns on each message, copies its
parts, and moves what is left of the buffer to the front, twice. Here a message costs one split and
two slices. Promises:

- The same messages in the same order, however the bytes were cut; every other line of the protocol
  is read by the library.
- A line is read as the broker wrote it. Nothing in a subject moves its words: a stranger's would
  choose who hears the message.
- A message that cannot be read is told of, and the connection goes on being read.
"""

from collections.abc import Callable
from typing import Any

from nats.errors import ProtocolError
from nats.protocol.parser import Parser

__all__ = ["DirectParser", "Take", "headers_of"]

Take = Callable[[int, bytes, bytes, bytes, bytes], bool]
"""Takes number, subject, reply, data and headers of a message; False leaves it to the library."""

_LINE_END = b"\r\n"
_MESSAGES = (b"MSG", b"HMSG")


class DirectParser(Parser):
    """Owner: the client's reading task."""

    def __init__(self, client: Any, take: Take) -> None:
        super().__init__(client)
        self._take = take
        self._parsing = False

    def reset(self) -> None:
        """A new connection: what came over the old one is void."""
        super().reset()
        self._wanted = 0
        """The number of bytes that are needed before it is worth looking again."""

    @property
    def idle(self) -> bool:
        """True if all that was given to `parse` is done with, so that nothing can be overtaken."""
        return not self._parsing and not self.buf

    def take(self, data: bytes, at: int = 0) -> int:
        """Hand over the messages from `at` on, while they are whole and somebody takes them.

        Returns where that ends; what stands there is for `parse`.
        """
        while (end := data.find(_LINE_END, at)) >= 0:
            parts = _parts(_words(data[at:end]))
            if parts is None:
                break
            number, subject, reply, head, size = parts
            begin = end + 2
            stop = begin + size
            if stop + 2 > len(data):
                break
            payload, headers = data[begin + head : stop], data[begin : begin + head]
            if not self._take(number, subject, reply, payload, headers):
                break
            at = stop + 2
        return at

    async def parse(self, data: bytes = b"") -> None:
        """As the library's. Raises `ProtocolError`."""
        held = self.buf
        if held:
            held.extend(data)
            if len(held) < self._wanted:
                return
            data = bytes(held)
            held.clear()
        self._parsing = True
        try:
            at = self.take(data)
            while at < len(data):
                at = await self._parse_one(data, at)
                if self.buf is not held:
                    # Another buffer means another connection: the rest belongs to the old one.
                    return
                at = self.take(data, at)
        finally:
            self._parsing = False

    async def _parse_one(self, data: bytes, at: int) -> int:
        """Parse what nobody takes where it is read: a protocol line, a message, or part of one."""
        end = data.find(_LINE_END, at)
        if end < 0:
            return self._keep(data, at, 0)
        words = _words(data[at:end])
        begin = end + 2
        if words[0] not in _MESSAGES:
            await super().parse(data[at:begin])
            return begin
        parts = _parts(words)
        if parts is None:
            raise ProtocolError("nats: malformed MSG")
        number, subject, reply, head, size = parts
        stop = begin + size
        if stop + 2 > len(data):
            return self._keep(data, at, stop + 2 - at)
        payload, headers = data[begin + head : stop], data[begin : begin + head]
        try:
            await self.nc._process_msg(number, subject, reply, payload, headers)
        except (UnicodeError, ValueError, LookupError) as error:
            # The library raises them for a subject that is no UTF-8 and for headers that are none,
            # and its reading task would end with the first.
            await self.nc._error_cb(error)
        return stop + 2

    def _keep(self, data: bytes, at: int, wanted: int) -> int:
        self.buf.extend(memoryview(data)[at:])
        self._wanted = wanted
        return len(data)


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


def _words(line: bytes) -> list[bytes]:
    # The broker writes one space between two words, and passes on a subject with any other byte. To
    # Python (and the library's patterns) a vertical tab or a form feed parts words too.
    return line.split(b" ")


def _parts(words: list[bytes]) -> tuple[int, bytes, bytes, int, int] | None:
    """Number of the subscription, subject, reply, bytes of the headers, bytes of all.

    None when this is no message, or a malformed one.
    """
    try:
        if words[0] == b"MSG":
            reply = words[3] if len(words) > 4 else b""
            return int(words[2]), words[1], reply, 0, int(words[-1])
        if words[0] == b"HMSG":
            reply = words[3] if len(words) > 5 else b""
            return int(words[2]), words[1], reply, int(words[-2]), int(words[-1])
    except (IndexError, ValueError):
        pass
    return None
