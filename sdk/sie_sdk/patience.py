"""Patience: whether a failed request is sent again, and when.

*pure.* Follows the table of error codes and what the caller allows. The clock and chance are
arguments.
"""

from dataclasses import dataclass
from typing import Final

from sie_schemas.errors import Later, SIEError, TimeRanOut

__all__ = ["Patience", "retry_delay_s"]

_CAPACITY: Final = frozenset({"PROVISIONING", "MODEL_LOADING", "LORA_LOADING", "GATEWAY_TIMEOUT"})
"""Codes that end when capacity has come: the caller decides how long that may take."""
_JITTER: Final = 0.25
_DELAY_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Patience:
    """The tries and the time for them. `retries_max` is for errors that are no lack of capacity."""

    wait_for_capacity: bool = True
    provision_timeout_s: float = 900.0
    retries_max: int = 4


def retry_delay_s(
    error: SIEError, *, attempt: int, elapsed_s: float, patience: Patience, chance: float
) -> float | None:
    """The seconds to wait before sending again, or None: give up.

    `attempt` counts from 0, `chance` is uniform in [0, 1). Every operation is safe to repeat. The
    delay is never shorter than the server asked for; a little is added so that clients spread.
    """
    if not isinstance(error, Later | TimeRanOut) or error.retry_after_s is None:
        return None
    delay = error.retry_after_s * (1 + _JITTER * chance)
    if error.code in _CAPACITY:
        if not patience.wait_for_capacity or elapsed_s + delay > patience.provision_timeout_s:
            return None
        return delay
    if attempt >= patience.retries_max:
        return None
    return max(delay, min(_DELAY_MAX_S, delay * float(2**attempt)))
