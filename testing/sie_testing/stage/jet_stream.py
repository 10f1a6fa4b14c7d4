"""Streams through the broker's client in memory: what of the library's JetStream is used.

*shell.* Owns nothing: each call is one round trip over the client's link, and is lost with it.
"""

import asyncio
from typing import Protocol

from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from sie_testing.stage.broker import Arrival, Broker

__all__ = ["JetStream", "Link"]


class Link(Protocol):
    """The client's connection."""

    linked: bool
    """True if it truly holds."""
    session: int
    """Another number after each time that it was lost."""


class JetStream:
    """The part of the library's JetStream context that is used."""

    def __init__(self, link: Link, broker: Broker, timeout_s: float) -> None:
        self._link = link
        self._broker = broker
        self._timeout_s = timeout_s

    async def add_stream(self, config: StreamConfig) -> None:
        """Make a stream."""
        await self._round_trip()
        assert config.name is not None and config.subjects is not None
        assert config.republish is not None
        first = config.first_seq or 1
        said_again = {"src": config.republish.src or "", "dest": config.republish.dest or ""}
        self._broker.add_stream(
            config.name, config.subjects[0], first, config.metadata or {}, said_again
        )

    async def get_msg(self, name: str, seq: int, direct: bool = True) -> Arrival:
        """The message at a sequence. Raises `NotFoundError`."""
        del direct
        await self._round_trip()
        stream = self._broker.streams.get(name)
        data = stream.messages.get(seq) if stream is not None else None
        if data is None:
            raise NotFoundError(code=404, description="no message found", err_code=10037)
        return Arrival(f"{name}.{seq}", data)

    async def _round_trip(self) -> None:
        link, broker = self._link, self._broker
        session = link.session
        if link.linked:
            await asyncio.sleep(broker.network.delay_s() + broker.network.delay_s())
        if not link.linked or link.session != session:
            await asyncio.sleep(self._timeout_s)
            raise NatsTimeoutError
