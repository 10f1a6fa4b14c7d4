"""The state of the writer: whether it takes writes, and if not, why.

*types.* Reads go on in every state. Each refusing state has one code. So a client can tell a full
disk, which passes, from a log that an operator has to look at.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

from sie_schemas.api.log import WriterTold
from sie_schemas.errors import Later, SIEError, Untrusted

__all__ = ["UNFENCED", "ReadOnly", "Recovery", "Serving", "WriterState", "describe", "refusal"]


@dataclass(frozen=True, slots=True)
class Serving:
    """Writes are taken. `witnessed` is False when nobody could confirm the head at start."""

    witnessed: bool


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """Writes are refused for a cause outside the log; the state ends when the cause does."""

    reason: str
    code: str = "LOG_READ_ONLY"


@dataclass(frozen=True, slots=True)
class Recovery:
    """Writes are refused because the log on this disk cannot be trusted to be the newest.

    `lacking` is the epoch up to which somebody has seen the log, where entries are missing that may
    still be given back. Every other recovery is left by a restart alone.
    """

    reason: str
    lacking: int | None = None


UNFENCED: Final = ReadOnly(
    "the broker is up and has not taken this writer's term yet: nothing would fence another writer"
)
"""After a start with the bus up, until the tenure is on the stream."""

WriterState: TypeAlias = Serving | ReadOnly | Recovery


def refusal(state: WriterState) -> SIEError | None:
    """The error that a write gets in this state; None where it is taken."""
    match state:
        case Serving():
            return None
        case ReadOnly(reason, code):
            return Later(f"no writes now: {reason}", code=code)
        case Recovery(reason):
            return Untrusted(f"the writer is in recovery: {reason}", code="LOG_RECOVERY")
        case _:
            assert_never(state)


def describe(state: WriterState) -> WriterTold:
    """The state as JSON shows it."""
    match state:
        case Serving(witnessed):
            return {"state": "serving", "witnessed": witnessed}
        case ReadOnly(reason, code):
            return {"state": "read_only", "reason": reason, "code": code}
        case Recovery(reason):
            return {"state": "recovery", "reason": reason, "code": "LOG_RECOVERY"}
        case _:
            assert_never(state)
