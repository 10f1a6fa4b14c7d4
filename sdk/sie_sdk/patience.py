"""Patience: whether a failed request is sent again, and when.

*pure.* One table of codes for every client. The clock and chance are arguments.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sie_schemas.errors import Later, SIEError, TimeRanOut
from sie_sdk.errors import RateLimitError, SIEConnectionError

__all__ = ["Lack", "Patience", "Retry", "lack_of", "retry_delay_s"]

Lack: TypeAlias = Literal["connection", "capacity", "busy", "adapter", "memory", "other"]

_LACKS: Final[dict[str, Lack]] = {
    "PROVISIONING": "capacity",
    "MODEL_LOADING": "capacity",
    "GATEWAY_TIMEOUT": "capacity",
    "NOT_READY": "busy",
    "QUEUE_FULL": "busy",
    "RATE_LIMIT": "busy",
    "BILLING_CAPACITY_UNAVAILABLE": "busy",
    "LORA_LOADING": "adapter",
    "RESOURCE_EXHAUSTED": "memory",
}
"""The lack behind a code, which tells how long it is waited for.

- connection: a few tries, and more where it was there before.
- capacity: until it has come; the caller decides how long that may take.
- busy: until others are done, as long as for capacity, and ever longer between.
- adapter: a few seconds.
- memory: a few tries, each twice as late.

Everything else that may pass has `retries_max` tries.
"""
_RECONNECTS_MAX: Final = 20
"""A gateway that was reached and went is replaced: 20 tries outlast a rollout."""
_RECONNECT_PAUSE_MAX_S: Final = 2.0
"""A service that was there and is not any more is being started again: half a minute."""
_ADAPTER_RETRIES_MAX: Final = 10
"""Adapters load in seconds; the published client waits as often."""
_JITTER: Final = 0.25
"""Clients that were refused together come back spread over a quarter more."""
_DELAY_MAX_S: Final = 30.0
"""Longer pauses find a cluster that has been up for a while."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The tries and the time for them. `retries_max` is for errors that tell of no lack."""

    wait_for_capacity: bool = True
    provision_timeout_s: float = 900.0
    retries_max: int = 4
    oom_retries_max: int = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """A request that is about to be sent again: why, for which time, and after which pause."""

    error: SIEError
    attempt: int
    elapsed_s: float
    pause_s: float


def lack_of(error: SIEError) -> Lack:
    """The lack for which a request is sent again, if it is."""
    if isinstance(error, SIEConnectionError):
        return "connection"
    # A proxy that says that there are too many requests has a code of its own, or none.
    return _LACKS.get(error.code, "busy" if isinstance(error, RateLimitError) else "other")


def retry_delay_s(
    error: SIEError, *, attempt: int, elapsed_s: float, patience: Patience, chance: float
) -> float | None:
    """The seconds to wait before sending again, or None: give up.

    `attempt` counts from 0 those that failed for this lack: ten waits for a worker must not use up
    the tries for an adapter. `chance` is uniform in [0, 1). Every operation is safe to repeat. The
    delay is never shorter than the server asked for; a little is added so that clients spread.
    """
    if not isinstance(error, Later | TimeRanOut) or error.retry_after_s is None:
        return None
    delay = error.retry_after_s * (1 + _JITTER * chance)
    # Thirty doublings are beyond any bound; after a thousand the power is no float any more.
    grown = max(delay, min(_DELAY_MAX_S, delay * float(2 ** min(attempt, 30))))
    match lack_of(error):
        case "connection":
            was_reached = isinstance(error, SIEConnectionError) and error.was_reached
            tries = _RECONNECTS_MAX if was_reached else patience.retries_max
            return min(grown, _RECONNECT_PAUSE_MAX_S) if attempt < tries else None
        case "capacity":
            in_time = elapsed_s + delay <= patience.provision_timeout_s
            return delay if patience.wait_for_capacity and in_time else None
        case "busy":
            return grown if elapsed_s + grown <= patience.provision_timeout_s else None
        case "adapter":
            return delay if attempt < _ADAPTER_RETRIES_MAX else None
        case "memory":
            return grown if attempt < patience.oom_retries_max else None
        case _:
            return grown if attempt < patience.retries_max else None
