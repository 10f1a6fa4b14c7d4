"""Who holds a job: what a gateway asks a worker before it gives jobs back or turns them elsewhere.

*types.* Frozen msgspec structs, msgpack: a core NATS request on `holding_subject(life)`. Only the
life that is asked listens there, so that "no responders" says that its connection is gone.
"""

from typing import Final

import msgspec
from msgspec import Struct

__all__ = [
    "HOLDING_ANSWER_DECODER",
    "HOLDING_ASKED_DECODER",
    "HoldingAnswer",
    "HoldingAsked",
    "holding_subject",
]


class HoldingAsked(Struct, frozen=True, kw_only=True):
    """Which of these jobs are in hand? None of them asks whether the worker lives."""

    v: int = 1
    job_ids: tuple[str, ...] = ()


class HoldingAnswer(Struct, frozen=True, kw_only=True):
    """Those of the jobs that were delivered to this worker and have no end yet."""

    v: int = 1
    job_ids: tuple[str, ...] = ()


def holding_subject(life: str) -> str:
    """Where one life of a worker is asked. `life` is hexadecimal."""
    return f"sie.holding.{life}"


HOLDING_ASKED_DECODER: Final = msgspec.msgpack.Decoder(HoldingAsked)
HOLDING_ANSWER_DECODER: Final = msgspec.msgpack.Decoder(HoldingAnswer)
