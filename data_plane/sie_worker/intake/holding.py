"""Holding: answers gateways that ask what this life of the worker holds, or to give jobs back.

*shell*: listens on subjects of this life alone. Promises that a job is told of from its delivery
until its end with the queue. So it is while it is fetched from the object store, or its result
waits for a gateway. A worker that has died is told from one that is busy by who listens here:
nobody. What a dead one held is given back by a living one of its pool, which may speak with the
queue.
"""

import logging
import secrets
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from sie_runtime.broker.bus import Bus, Message, Subscription
from sie_runtime.streams.redelivery import Redelivery
from sie_schemas.errors import SIEError
from sie_schemas.fleet import (
    HOLDING_ASKED_DECODER,
    QUEUE_ASKED_DECODER,
    GiveBack,
    HandedOut,
    HandedOutAsked,
    HoldingAnswer,
    QueueAnswer,
    holding_subject,
    queue_subject,
)
from sie_schemas.malformed import MALFORMED

__all__ = ["Holding"]

_LOG: Final = logging.getLogger(__name__)
_ENCODER: Final = msgspec.msgpack.Encoder()
_ASKS: Final = "gateway"


class Holding:
    """`held` gives those of some jobs that are in hand; `pool` is this worker's."""

    def __init__(
        self,
        bus: Bus,
        *,
        pool: str,
        held: Callable[[Collection[str]], Collection[str]],
        timeout_s: float,
        life: str = "",
    ) -> None:
        self._bus = bus
        self._pool = pool
        self._held = held
        self._redelivery = Redelivery(bus, timeout_s=timeout_s)
        self._listening: list[Subscription] = []
        self.life: Final = life or secrets.token_hex(8)
        """Random, of this process alone: a heartbeat under the same name with another one says that
        this one is over."""

    async def open(self) -> None:
        """Listen. Called before the first heartbeat, and so before the first job."""
        self._listening = [
            await self._bus.subscribe(holding_subject(self._pool, self.life), self._asked),
            await self._bus.subscribe(queue_subject(self._pool, self.life), self._queue_asked),
        ]

    async def close(self) -> None:
        """Listen no more. Called when nothing is in hand."""
        for each in self._listening:
            await each.unsubscribe()

    def _asked(self, message: Message) -> None:
        if not message.is_asked_by(_ASKS):
            return
        try:
            asked = HOLDING_ASKED_DECODER.decode(message.data)
        except MALFORMED as error:
            _unreadable(message, error)
            return
        held = self._held(asked.job_ids)
        answer = HoldingAnswer(job_ids=tuple(job for job in asked.job_ids if job in held))
        message.answer(_ENCODER.encode(answer))

    async def _queue_asked(self, message: Message) -> None:
        if not message.is_asked_by(_ASKS):
            return
        try:
            asked = QUEUE_ASKED_DECODER.decode(message.data)
        except MALFORMED as error:
            _unreadable(message, error)
            return
        try:
            answer = QueueAnswer(out=await self._told(asked))
        except SIEError as error:
            answer = QueueAnswer(error=error.message)
        message.answer(_ENCODER.encode(answer))

    async def _told(self, asked: HandedOutAsked | GiveBack) -> HandedOut | None:
        if isinstance(asked, HandedOutAsked):
            return await self._redelivery.handed_out(self._pool, asked.consumer)
        self._redelivery.hand_out_again(self._pool, asked.consumer, asked.sequences, asked.out)
        return asked.out


def _unreadable(message: Message, error: Exception) -> None:
    _LOG.warning("a question on %s cannot be read: %s", message.subject, error)
