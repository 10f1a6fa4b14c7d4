"""The clients that come back: they were answered a moment ago and their next input is due.

*pure.* Time is an argument, in seconds of any monotonic clock. Most clients send the next request
when they have the answer to the last. So after a batch a crowd of inputs is on its way. This is
learnt while running, from how often an answer was followed by an input and how soon. An input is
taken to be that of the client who was answered last. Disk schedulers wait by the same means for the
next read of a process (Iyer and Druschel, "Anticipatory scheduling", 2001). Promises:

- Nobody is expected whose time is over, nor where mostly nothing followed an answer.
- A client alone, whose input is here, leaves nobody to be expected.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from sie_worker.scheduling.lanes import Way

__all__ = ["Due", "Returns"]

_GONE_S: Final = 0.1
"""From when on one who was answered does not come back as far as is counted."""
_SHARE_MIN: Final = 0.6
"""Of the answers that must have been followed by an input, for more to be expected."""
_MEMORY_SHARE: Final = 1 / 32
_MEMORY_MEAN: Final = 1 / 8
_MEMORY_SPREAD: Final = 1 / 4
"""Weights of the newest, the latter two as TCP estimates a round trip."""
_SPREADS: Final = 2.0
"""Of the time that a return takes, above its mean, after which one is late."""
_SPREAD_MIN: Final = 1 / 4
"""Of the mean, that the spread is taken to be at least."""
_WAYS_MAX: Final = 1024
"""Models, operations and adapters that are seen: beyond it the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class Due:
    """So many inputs are on their way, and all of them should be here at `by`."""

    inputs: int
    by: float
    within_s: float


@dataclass(slots=True)
class _Seen:
    """Of one way: when the inputs were answered that are away, the latest last; what was learnt."""

    away: deque[float] = field(default_factory=deque)
    share: float = 0.0
    mean_s: float | None = None
    spread_s: float = 0.0

    def forget(self, now: float) -> None:
        while self.away and now - self.away[0] > _GONE_S:
            self.away.popleft()
            self.share -= _MEMORY_SHARE * self.share

    @property
    def within_s(self) -> float:
        """The seconds of a return, unless it is late; a clockwork of clients has no spread."""
        mean_s = self.mean_s or 0.0
        return mean_s + _SPREADS * max(self.spread_s, _SPREAD_MIN * mean_s)

    def came_back(self, after_s: float) -> None:
        self.share += _MEMORY_SHARE * (1 - self.share)
        if self.mean_s is None:
            self.mean_s, self.spread_s = after_s, after_s / 2
            return
        self.spread_s += _MEMORY_SPREAD * (abs(after_s - self.mean_s) - self.spread_s)
        self.mean_s += _MEMORY_MEAN * (after_s - self.mean_s)


class Returns:
    """The inputs that were answered and those that came, at all devices of a worker."""

    def __init__(self) -> None:
        self._seen: dict[Way, _Seen] = {}
        """The most recently used last."""

    def answered(self, way: Way, inputs: int, now: float) -> None:
        """So many inputs have their answers."""
        seen = self._seen.pop(way, None) or _Seen()
        self._seen[way] = seen
        if len(self._seen) > _WAYS_MAX:
            del self._seen[next(iter(self._seen))]
        seen.forget(now)
        seen.away.extend([now] * inputs)

    def came(self, way: Way, inputs: int, now: float) -> None:
        """So many inputs are here."""
        seen = self._seen.get(way)
        if seen is None:
            return
        seen.forget(now)
        for _ in range(min(inputs, len(seen.away))):
            # The latest answer, not the earliest: else one client that left for good would be taken
            # for the next to return, and waited for ever after.
            seen.came_back(now - seen.away.pop())

    def due(self, way: Way, now: float, *, running: int = 0, free_at: float = 0.0) -> Due | None:
        """The clients that should be here soon; None where that is nobody.

        `running` inputs have their answers at `free_at`, and so are on their way from then on.
        """
        seen = self._seen.get(way)
        if seen is None or seen.mean_s is None:
            return None
        seen.forget(now)
        if seen.share < _SHARE_MIN:
            return None
        within_s = seen.within_s
        away = sum(now - answered < within_s for answered in seen.away)
        if not away + running:
            return None
        last = max(now, free_at) if running else seen.away[-1]
        return Due(away + running, last + within_s, within_s)
