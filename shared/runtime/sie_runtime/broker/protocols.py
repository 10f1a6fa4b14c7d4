"""Protocols: the part of the bus that others need, so that a test can stand in for it.

*types.*
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

__all__ = ["Incoming", "ResultBus", "Subscribed"]


class Incoming(Protocol):
    """A message from the bus, with the way to answer it."""

    @property
    def data(self) -> bytes:
        """The payload."""
        ...

    def answer(self, data: bytes) -> None:
        """Answer the sender."""
        ...


class Subscribed(Protocol):
    """A subscription that can be ended."""

    async def unsubscribe(self) -> None:
        """Take no more messages."""
        ...


class ResultBus(Protocol):
    """The part of the bus that takes and tells: NATS in a process, memory in a test."""

    @property
    def connected(self) -> bool:
        """True if a broker is there now."""
        ...

    async def subscribe(
        self, subject: str, callback: Callable[[Incoming], Awaitable[None] | None], /
    ) -> Subscribed:
        """Call back for each message of a subject, in order."""
        ...

    async def publish(self, subject: str, data: bytes, /) -> None:
        """Send to whoever listens. Raises `BusUnavailable`."""
        ...
