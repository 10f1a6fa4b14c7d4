"""The number of jobs a second that this worker answers, and how full its batches are, as its
heartbeats tell it.

*pure.* Seconds are arguments. Promises the mean over about the last ten seconds, 0 before the
second look, and to remember no more looks than fit into that time.
"""

from collections import deque
from typing import Final

__all__ = ["AnswerRate", "MeanFill"]

_WINDOW_S: Final = 10.0
"""Long beside a batch, short beside a change of traffic."""
_STEP_S: Final = 0.5
"""Looks closer than this say no more than the first of them."""


class AnswerRate:
    """Owned by the event loop."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque()
        """The time of each look and the count of answers by then, the oldest first."""

    def look(self, answered: float, now: float) -> float:
        """Jobs a second, where `answered` were answered since the start."""
        looks = self._looks
        while len(looks) > 1 and looks[1][0] <= now - _WINDOW_S:
            looks.popleft()
        if not looks or now - looks[-1][0] >= _STEP_S:
            looks.append((now, answered))
        since, before = looks[0]
        return (answered - before) / (now - since) if now > since else 0.0


class MeanFill:
    """The mean share of their budgets that batches used lately. Owned by the event loop."""

    def __init__(self) -> None:
        self._batches = AnswerRate()
        self._fill = AnswerRate()

    def look(self, batches: int, fill: float, now: float) -> float:
        """The mean, where so many batches used so much since the start; 0 where none ran."""
        per_s, filled_per_s = self._batches.look(batches, now), self._fill.look(fill, now)
        return filled_per_s / per_s if per_s else 0.0
