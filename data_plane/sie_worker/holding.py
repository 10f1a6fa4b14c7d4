"""Holding: answers gateways that ask which of their jobs this life of the worker has in hand.

*shell*: listens on a subject of this life alone. Promises that a job is told of from its delivery
until its end with the queue, also while it is fetched from the object store or its result waits for
a gateway. A worker that has died is told from one that is busy by who listens here: nobody.
"""

import logging
import secrets
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from sie_runtime.bus import Bus, Message, Subscription
from sie_schemas.holding import HOLDING_ASKED_DECODER, HoldingAnswer, holding_subject
from sie_schemas.malformed import MALFORMED

__all__ = ["Holding"]

_LOG: Final = logging.getLogger(__name__)
_ENCODER: Final = msgspec.msgpack.Encoder()


class Holding:
    """`held` gives those of some jobs that are in hand."""

    def __init__(self, bus: Bus, *, held: Callable[[Collection[str]], Collection[str]]) -> None:
        self._bus = bus
        self._held = held
        self._listening: Subscription | None = None
        self.life: Final = secrets.token_hex(8)
        """Random, of this process alone: a heartbeat under the same name with another one says that
        this one is over."""

    async def open(self) -> None:
        """Listen. Called before the first heartbeat, and so before the first job."""
        self._listening = await self._bus.subscribe(holding_subject(self.life), self._asked)

    async def close(self) -> None:
        """Listen no more. Called when nothing is in hand."""
        if self._listening is not None:
            await self._listening.unsubscribe()

    def _asked(self, message: Message) -> None:
        try:
            asked = HOLDING_ASKED_DECODER.decode(message.data)
        except MALFORMED as error:
            _LOG.warning("a question on %s cannot be read: %s", message.subject, error)
            return
        held = self._held(asked.job_ids)
        answer = HoldingAnswer(job_ids=tuple(job for job in asked.job_ids if job in held))
        message.answer(_ENCODER.encode(answer))
