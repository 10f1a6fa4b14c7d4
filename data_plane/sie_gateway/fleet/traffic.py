"""Traffic: when each model and adapter was last asked for at this gateway.

*shell.* Owns the times. Told to sie-config with the replica's report, so that a model which
somebody used within the hour does not leave the cluster without a word. Promises to remember no
more than a bound, the newest, and nothing older than an hour. The clock is given.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["Traffic"]

_NAMES_MAX: Final = 500
"""Names in one report to sie-config, the newest: a report stays small."""
_KEEP_S: Final = 3600.0
"""A model that was used within it does not leave the cluster without a word."""


class Traffic:
    """The last request for each model and adapter. Owner: the gateway's one loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._models: dict[str, float] = {}
        self._adapters: dict[str, float] = {}

    def note(self, model_id: str, adapter: str | None = None) -> None:
        """A request asked for this model, and this adapter, which are in the registry."""
        self._keep(self._models, model_id)
        if adapter is not None:
            self._keep(self._adapters, f"{model_id}/{adapter}")

    def report(self) -> dict[str, int]:
        """Whole seconds since the last request, by model."""
        return self._told(self._models)

    def report_adapters(self) -> dict[str, int]:
        """The same by the key of an adapter."""
        return self._told(self._adapters)

    def _keep(self, asked: dict[str, float], name: str) -> None:
        # Taken out first, so that the oldest stands in front.
        asked.pop(name, None)
        asked[name] = self._clock()
        if len(asked) > _NAMES_MAX:
            del asked[next(iter(asked))]

    def _told(self, asked: dict[str, float]) -> dict[str, int]:
        now = self._clock()
        for name in [name for name, at in asked.items() if now - at > _KEEP_S]:
            del asked[name]
        return {name: int(now - at) for name, at in asked.items()}
