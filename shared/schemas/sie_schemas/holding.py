"""The holders of a job, and its way back: what gateways ask workers when one of them has died.

*types.* Frozen msgspec structs, msgpack. `holding_subject(life)` and `queue_subject(life)` are core
NATS requests. Only the life that is asked listens there, so that "no responders" says that its
connection is gone. A gateway cannot speak for a consumer of the queue; a worker of the pool can.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

__all__ = [
    "HOLDING_ANSWER_DECODER",
    "HOLDING_ASKED_DECODER",
    "QUEUE_ANSWER_DECODER",
    "QUEUE_ASKED_DECODER",
    "GiveBack",
    "HandedOut",
    "HandedOutAsked",
    "HoldingAnswer",
    "HoldingAsked",
    "QueueAnswer",
    "holding_subject",
    "queue_subject",
]


class HoldingAsked(Struct, frozen=True, kw_only=True):
    """A question: which of these jobs are in hand? None of them asks whether the worker lives."""

    v: int = 1
    job_ids: tuple[str, ...] = ()


class HoldingAnswer(Struct, frozen=True, kw_only=True):
    """Those of the jobs that were delivered to this worker and have no end yet."""

    v: int = 1
    job_ids: tuple[str, ...] = ()


# Python's `$` stands before a last newline too.
ConsumerName = Annotated[str, Meta(pattern=r"^[^\s.*>]+$(?!\n)")]
"""One token of a subject, as `consumer_name` makes it."""


class HandedOut(Struct, frozen=True):
    """The point that a consumer has handed out to: `last` in its stream, `deliveries` by its own
    count. It tells also how many of them nobody has acknowledged."""

    last: int
    deliveries: int
    unacknowledged: int


class HandedOutAsked(Struct, frozen=True, kw_only=True, tag="handed_out"):
    """A question: how far has a consumer of the worker's pool handed out?"""

    consumer: ConsumerName


class GiveBack(Struct, frozen=True, kw_only=True, tag="give_back"):
    """Have a consumer of the worker's pool hand these out again. `out` is what it told before."""

    consumer: ConsumerName
    sequences: tuple[int, ...]
    out: HandedOut


class QueueAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """It is done; `out` is absent where there is no such consumer. `error` says why it is not."""

    out: HandedOut | None = None
    error: str = ""


def holding_subject(life: str) -> str:
    """The subject on which one life of a worker is asked what it holds. `life` is hexadecimal."""
    return f"sie.holding.{life}"


def queue_subject(life: str) -> str:
    """The subject on which it is asked to speak with the queue."""
    return f"sie.holding.{life}.queue"


HOLDING_ASKED_DECODER: Final = msgspec.msgpack.Decoder(HoldingAsked)
HOLDING_ANSWER_DECODER: Final = msgspec.msgpack.Decoder(HoldingAnswer)
QUEUE_ASKED_DECODER: Final = msgspec.msgpack.Decoder(HandedOutAsked | GiveBack)
QUEUE_ANSWER_DECODER: Final = msgspec.msgpack.Decoder(QueueAnswer)
