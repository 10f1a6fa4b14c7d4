"""Holders: asks workers which jobs they have in hand, whether they live, and to give jobs back.

*shell.* Promises that "gone" is only said where the broker finds nobody who listens as that life.
An answer that did not come is never taken for "holds nothing". Keeps nothing.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from enum import Enum, auto
from typing import Final, Protocol

import msgspec

from sie_gateway.fleet.lives import Life
from sie_runtime.broker.bus import NoResponders
from sie_schemas.errors import Later, SIEError
from sie_schemas.fleet import (
    HOLDING_ANSWER_DECODER,
    QUEUE_ANSWER_DECODER,
    GiveBack,
    HandedOut,
    HandedOutAsked,
    HoldingAsked,
    QueueAnswer,
    holding_subject,
    queue_subject,
)
from sie_schemas.malformed import MALFORMED

__all__ = ["Asker", "Holders", "Unheard"]

_IDS_MAX: Final = 5000
"""In one question: under the broker's limit of a message with room to spare."""
_ENCODER: Final = msgspec.msgpack.Encoder()


class Asker(Protocol):
    """The part of the bus that asks."""

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send and await one answer. Raises `NoResponders`, and `SIEError` where none came."""
        ...


class Unheard(Enum):
    """The reason why a life gave no answer: nobody is there, or nothing came in time."""

    GONE = auto()
    SILENT = auto()


class Holders:
    """`answer_s` is how long a worker may take to answer, `queue_s` where it asks the queue."""

    def __init__(self, asker: Asker, *, answer_s: float, queue_s: float) -> None:
        self._asker = asker
        self._answer_s = answer_s
        self._queue_s = queue_s

    async def ask(self, life: Life, job_ids: Sequence[str] = ()) -> frozenset[str] | Unheard:
        """Those of the jobs that a life has in hand."""
        held: set[str] = set()
        for start in range(0, max(1, len(job_ids)), _IDS_MAX):
            asked = HoldingAsked(job_ids=tuple(job_ids[start : start + _IDS_MAX]))
            try:
                answer = await self._asker.request(
                    holding_subject(life.kind.pool, life.name),
                    _ENCODER.encode(asked),
                    timeout_s=self._answer_s,
                )
                held.update(HOLDING_ANSWER_DECODER.decode(answer).job_ids)
            # The broker's own word that the connection is gone: then its pulls are gone too, and
            # what is given back cannot come to it again. A process that was stopped still listens.
            except NoResponders:
                return Unheard.GONE
            except (SIEError, *MALFORMED):
                return Unheard.SILENT
        return frozenset(held)

    async def handed_out(self, speaker: Life, consumer: str) -> HandedOut | None:
        """The point that a consumer handed out to; None where there is none. Raises `SIEError`."""
        return (await self._ask_queue(speaker, HandedOutAsked(consumer=consumer))).out

    async def give_back(
        self, speaker: Life, consumer: str, sequences: Iterable[int], out: HandedOut
    ) -> None:
        """Have a consumer hand jobs out again. Raises `SIEError`."""
        told = GiveBack(consumer=consumer, sequences=tuple(sequences), out=out)
        await self._ask_queue(speaker, told)

    async def _ask_queue(self, speaker: Life, asked: HandedOutAsked | GiveBack) -> QueueAnswer:
        data = await self._asker.request(
            queue_subject(speaker.kind.pool, speaker.name),
            _ENCODER.encode(asked),
            timeout_s=self._queue_s,
        )
        try:
            answer = QUEUE_ANSWER_DECODER.decode(data)
        except MALFORMED as error:
            raise Later(f"what worker {speaker.worker_id!r} says cannot be read") from error
        if answer.error:
            raise Later(f"worker {speaker.worker_id!r} says: {answer.error}")
        return answer

    async def held(self, lives: Iterable[Life], job_ids: Collection[str]) -> frozenset[str] | None:
        """Those of the jobs that any of these lives has in hand; None where that is not known."""
        asked = list(lives)
        # One of an older release cannot be asked, and may hold any of them.
        if not all(life.name for life in asked):
            return None
        answers = await asyncio.gather(*[self.ask(life, list(job_ids)) for life in asked])
        told = [answer for answer in answers if not isinstance(answer, Unheard)]
        return frozenset().union(*told) if len(told) == len(asked) else None
