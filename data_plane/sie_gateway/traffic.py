"""Traffic: when each model was last asked for at this gateway.

*shell.* Owns the times. Told to sie-config with the replica's report, so that a model which
somebody used within the hour does not leave the cluster without a word. Promises to remember no
more than a bound, the newest, and nothing older than an hour. The clock is given.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["Traffic"]

_MODELS_MAX: Final = 500
_KEEP_S: Final = 3600.0


class Traffic:
    """The last request for each model. Owner: the gateway's one loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked: dict[str, float] = {}

    def note(self, model_id: str) -> None:
        """A request asked for this model, which is in the registry."""
        # Taken out first, so that the oldest stands in front.
        self._asked.pop(model_id, None)
        self._asked[model_id] = self._clock()
        if len(self._asked) > _MODELS_MAX:
            del self._asked[next(iter(self._asked))]

    def report(self) -> dict[str, int]:
        """Whole seconds since the last request, by model."""
        now = self._clock()
        self._asked = {name: at for name, at in self._asked.items() if now - at <= _KEEP_S}
        return {name: int(now - at) for name, at in self._asked.items()}
