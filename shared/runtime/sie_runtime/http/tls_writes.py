"""An answer under TLS is written in parts, so that it is seen which of them nobody has read.

*shell* around a connection's transport. What is written under TLS is encrypted at once and given to
the connection below. That one alone knows that it waits there: of 8 MB that nobody read, the size
to be asked for was 0. The connection below says when it is full, and what comes behind stays in
sight. Both loops are like that (asyncio's and uvloop's).
"""

from typing import Any, Final

__all__ = ["InParts", "in_sight"]

_PART: Final = 128 * 1024
"""Twice the bytes with which a connection calls itself full."""


class InParts:
    """A transport that is written to in parts. Owner: its connection."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Write all of it."""
        if len(data) <= _PART:
            self._transport.write(data)
            return
        whole = memoryview(data)
        for at in range(0, len(whole), _PART):
            self._transport.write(whole[at : at + _PART])

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)


def in_sight(transport: Any) -> Any:
    """The transport, or one in its place whose unread bytes are counted."""
    return transport if transport.get_extra_info("ssl_object") is None else InParts(transport)
