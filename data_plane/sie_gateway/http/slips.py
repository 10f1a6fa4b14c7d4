"""Slips of the pen: a refusal for a model that is not there names the one that was meant.

*shell* over a clock. Names are shown to who may read them, and to nobody else. Promises that a
flood of unknown names costs some searches a second, and one sorting of the names now and then. Who
comes meanwhile is told the same as before.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from sie_core.near_names import LENGTH_MAX, NearNames
from sie_core.resolver import Resolver
from sie_runtime.access.access import Principal
from sie_schemas.errors import SIEError

__all__ = ["Slips"]

_PAUSE_S: Final = 0.25
"""Between two searches, of a millisecond or some: one or two percent of the loop."""
_SORT_S: Final = 0.0005
"""For each name between two sortings: 5 s for ten thousand, whose sorting takes 20 ms."""
_REMEMBERED_MAX: Final = 256
"""Of a flood most ask for the same few names."""


class Slips:
    """One for a gateway. `pause_s` is for tests."""

    def __init__(
        self,
        resolver: Callable[[], Resolver],
        *,
        clock: Callable[[], float] = monotonic,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._pause_s = pause_s
        self._names = NearNames(())
        self._names_of: object = None
        """The models that were sorted, to tell whether they are others now."""
        self._sort_again_at = float("-inf")
        self._searched_at = float("-inf")
        self._remembered: dict[str, str | None] = {}

    def tell(self, error: SIEError, spec: str, who: Principal) -> None:
        """Add the model that was meant to a refusal for one that is not there."""
        # Where no token is in force nobody is known, and everybody may read.
        if error.code != "MODEL_NOT_FOUND" or (who.is_known and not who.may("read")):
            return
        meant = self._meant(spec.rpartition(":/")[2].partition(":")[0])
        if meant is not None:
            error.message = f"{error.message}; did you mean {meant!r}?"

    def _meant(self, name: str) -> str | None:
        resolver, now = self._resolver(), self._clock()
        known = resolver.models
        if len(name) > LENGTH_MAX:
            # Nobody's slip, and too long to be kept.
            return None
        if self._names_of is not known and now >= self._sort_again_at:
            self._names = NearNames({*known, *resolver.aliases})
            # Counted now: to count the models of a registry takes a millisecond.
            self._names_of, self._sort_again_at = known, now + len(self._names) * _SORT_S
            self._remembered.clear()
        if name not in self._remembered:
            if now - self._searched_at < self._pause_s:
                return None
            self._searched_at = now
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[name] = self._names.nearest(name)
        meant = self._remembered[name]
        # It may have gone since the names were sorted.
        return meant if meant in known or meant in resolver.aliases else None
