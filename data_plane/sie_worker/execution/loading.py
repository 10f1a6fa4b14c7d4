"""The model that is loaded next, of those that inputs wait for and that are not on the device.

*pure.* Time is an argument, in seconds of any monotonic clock. Loads are one after the other, the
model whose inputs have waited longest first. One that fits beside the others, or for which the
device has nothing else to do, is loaded at once. One that makes another leave costs more than its
own time. So such loads have a bounded share of the time while the device has work; their inputs
gather meanwhile, and then share batches. No other is begun before the inputs that a load was for
have run, or their model might leave again first.

Promises:

- With `share` s an input waits for no more than the loads before its model's own. Each has (1 - s)
  / s of its time behind it, and the batches that it was for.
- An idle device is never kept from a load.
- There is one load at a time.

Does not load and does not know what leaves.
"""

from collections.abc import Collection, Container, Mapping
from math import inf

__all__ = ["LoadTurns"]


class LoadTurns:
    """The loads of one device. Owned by the device loop."""

    def __init__(self, *, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError("the share is above 0 and at most 1")
        self._pause_per_s = (1 - share) / share
        self._began: float | None = None
        self._due = -inf
        """The time from which a load may begin that makes others leave."""
        self._came: tuple[str, float] | None = None
        """The model that was loaded last, and when."""

    def pick(
        self,
        now: float,
        waiting: Mapping[str, float],
        *,
        absent: Collection[str],
        idle: bool,
        fitting: Container[str],
    ) -> str | None:
        """The revision to load now, if any; `began` says that it is done.

        `waiting` tells since when the oldest input of each revision waits; of these the `absent`
        are not loaded, and the `fitting` make no other leave.
        """
        if self._began is not None:
            return None
        free = idle or (now >= self._due and not self._is_owed(waiting, absent))
        ready = [each for each in absent if free or each in fitting]
        return min(ready, key=lambda each: (waiting[each], each), default=None)

    def _is_owed(self, waiting: Mapping[str, float], absent: Collection[str]) -> bool:
        """True if inputs still wait that the last load was for."""
        if self._came is None or self._came[0] in absent:
            return False
        revision, since = self._came
        return waiting.get(revision, inf) < since

    def due(self, now: float) -> float | None:
        """The time to ask again, where nothing else happens; None: not before a load ends."""
        return max(now, self._due) if self._began is None and self._due > now else None

    def began(self, now: float) -> None:
        """A load begins."""
        self._began = now

    def ended(self, revision: str, now: float) -> None:
        """The load is over, well or not."""
        if self._began is not None:
            self._due = now + (now - self._began) * self._pause_per_s
            self._came = (revision, now)
        self._began = None
