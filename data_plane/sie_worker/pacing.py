"""The pace of batches: how long one runs, and how long a lane may wait to fill.

*pure.* Seconds are arguments. A `Pace` is what was seen of one model, profile and operation. It
promises that the wait shrinks by half with each batch whose oldest input was answered later than
the target, grows by a small step with each that was in time, and is never above the target; and
that what it expects of a batch is never below zero. What fits a time is never so little that the
batch's own price would be more than half of it. Owned by the scheduler.
"""

from math import inf
from typing import Final

__all__ = ["Pace"]

_MEMORY: Final = 0.9
"""Weight of what was seen before: about the last ten batches count."""
_SPREAD_MIN: Final = 1e-6
"""Relative spread of the costs below which they are one size."""
_SHRINK: Final = 0.5
_GROW: Final = 1 / 32
"""Share of the target that the wait grows by: slow up and fast down, as TCP finds its rate."""


class Pace:
    """What was seen of the batches of one way of running.

    `wait_s` is where the wait starts; it stays there where `latency_s`, the target, is None.
    """

    def __init__(self, wait_s: float, latency_s: float | None) -> None:
        self._wait_s = wait_s if latency_s is None else min(wait_s, latency_s)
        self._latency_s = latency_s
        # Decaying sums over the batches. A line through them gives what a batch takes and what a
        # unit of cost takes.
        self._weight = self._costs = self._seconds = self._squares = self._products = 0.0

    @property
    def wait_s(self) -> float:
        """How long a lane's oldest input may wait for the lane to fill."""
        return self._wait_s

    def expected_s(self, cost: int) -> float | None:
        """How long a batch of that cost will run; None before the first one ended."""
        if not self._weight:
            return None
        mean_cost, mean_s, slope = self._line()
        if slope is None:
            # Batches of one size tell no line: a larger one is taken in proportion.
            return mean_s * max(1.0, cost / mean_cost)
        return max(0.0, mean_s + slope * (cost - mean_cost))

    def cost_within(self, seconds: float) -> float:
        """The cost of a batch that runs for so long; no bound before the first one ended."""
        if not self._weight:
            return inf
        mean_cost, mean_s, slope = self._line()
        if slope is None:
            return inf if mean_s == 0 else mean_cost * seconds / mean_s
        if slope == 0:
            return inf
        price_s = max(0.0, mean_s - slope * mean_cost)
        return max(mean_cost + (seconds - mean_s) / slope, price_s / slope)

    def _line(self) -> tuple[float, float, float | None]:
        """A point of the line, (cost, seconds), and its slope; None where one size was seen."""
        mean_cost, mean_s = self._costs / self._weight, self._seconds / self._weight
        spread = self._squares / self._weight - mean_cost**2
        if spread <= _SPREAD_MIN * mean_cost**2:
            return mean_cost, mean_s, None
        slope = (self._products / self._weight - mean_cost * mean_s) / spread
        return mean_cost, mean_s, max(0.0, slope)

    def ran(self, cost: int, seconds: float) -> None:
        """A batch of that cost (at least 1) had the device for so long."""
        self._weight = _MEMORY * self._weight + 1
        self._costs = _MEMORY * self._costs + cost
        self._seconds = _MEMORY * self._seconds + seconds
        self._squares = _MEMORY * self._squares + cost * cost
        self._products = _MEMORY * self._products + cost * seconds

    def answered(self, latency_s: float) -> None:
        """The oldest input of a batch was answered so long after it came."""
        if self._latency_s is None:
            return
        if latency_s > self._latency_s:
            self._wait_s *= _SHRINK
        else:
            self._wait_s = min(self._latency_s, self._wait_s + _GROW * self._latency_s)
