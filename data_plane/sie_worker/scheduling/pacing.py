"""The pace of batches: how long one runs, and how long a lane may wait to fill.

*pure.* Seconds are arguments. A `Pace` is what was seen of one model, profile and operation: a line
through the batches. Each size counts by its last ten batches. So the price of a batch by itself is
known also where all batches have been alike for long. Promises:

- The wait shrinks by half with each batch whose oldest input was answered later than the target. It
  grows by a small step with each that was in time, and is never above the target.
- What it expects of a batch is never below zero.
- What fits a time is never so little that the batch's own price would be more than half of it.

Owned by the scheduler.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from typing import Final

__all__ = ["Pace"]

_MEMORY: Final = 0.9
"""Weight of what was seen before of a size: about the last ten batches count."""
_SHRINK: Final = 0.5
"""Late answers halve the wait at once; it grows by small steps."""
_GROW: Final = 1 / 32
"""Share of the target that the wait grows by: slow up and fast down, as TCP finds its rate."""

_PRICE_SHARE: Final = 1 / 50
"""Of the time of a batch, below which making it larger gains little. Batches of fifty prices (0.4
s) give 2 % less than whole ones. Those of twenty give 5 to 7 % less, those of 100 ms 10 %."""


@dataclass(slots=True)
class _Size:
    """Decaying sums over the batches of about one size: costs within a factor of two."""

    weight: float = 0.0
    cost: float = 0.0
    seconds: float = 0.0

    def ran(self, cost: int, seconds: float) -> None:
        self.weight = _MEMORY * self.weight + 1
        self.cost = _MEMORY * self.cost + cost
        self.seconds = _MEMORY * self.seconds + seconds


@dataclass(frozen=True, slots=True)
class _Line:
    """A point of the line, and its slope; None where one size was seen."""

    cost: float
    seconds: float
    slope: float | None


class Pace:
    """The record of the batches of one way of running.

    `wait_s` is where the wait starts; it stays there where `latency_s`, the target, is None.
    """

    def __init__(self, wait_s: float, latency_s: float | None) -> None:
        self._wait_s = wait_s if latency_s is None else min(wait_s, latency_s)
        self._latency_s = latency_s
        self._sizes: dict[int, _Size] = {}
        """By the binary digits of the cost."""
        self._line: _Line | None = None
        self._cost_in_time = inf

    @property
    def wait_s(self) -> float:
        """The seconds that a lane's oldest input may wait for the lane to fill."""
        return self._wait_s

    @property
    def price_s(self) -> float | None:
        """The seconds of a batch by itself, whatever is in it; None before the first one ended.

        Where one size was seen it may be all of its time.
        """
        line = self._line
        if line is None:
            return None
        return max(0.0, line.seconds - (line.slope or 0.0) * line.cost)

    @property
    def cost_in_time(self) -> float:
        """The cost of a batch that runs no longer than the target, or of which the price is a
        fiftieth, if that is more. There is no bound without a target, nor before the first batch
        ended."""
        return self._cost_in_time

    def expected_s(self, cost: int) -> float | None:
        """The seconds that a batch of that cost will run; None before the first one ended."""
        line = self._line
        if line is None:
            return None
        if line.slope is None:
            # Batches of one size tell no line: a larger one is taken in proportion.
            return line.seconds * max(1.0, cost / line.cost)
        return max(0.0, line.seconds + line.slope * (cost - line.cost))

    def cost_within(self, seconds: float) -> float:
        """The cost of a batch that runs for so long; no bound before the first one ended."""
        line = self._line
        if line is None:
            return inf
        if line.slope is None:
            return inf if line.seconds == 0 else line.cost * seconds / line.seconds
        if line.slope == 0:
            return inf
        price_s = self.price_s or 0.0
        return max(line.cost + (seconds - line.seconds) / line.slope, price_s / line.slope)

    def ran(self, cost: int, seconds: float) -> None:
        """A batch of that cost (at least 1) had the device for so long."""
        self._sizes.setdefault(cost.bit_length(), _Size()).ran(cost, seconds)
        self._line = _line_through(self._sizes.values())
        if self._latency_s is not None:
            price_s = self.price_s or 0.0
            self._cost_in_time = self.cost_within(max(self._latency_s, price_s / _PRICE_SHARE))

    def answered(self, latency_s: float) -> None:
        """The oldest input of a batch was answered so long after it came."""
        if self._latency_s is None:
            return
        if latency_s > self._latency_s:
            self._wait_s *= _SHRINK
        else:
            self._wait_s = min(self._latency_s, self._wait_s + _GROW * self._latency_s)


def _line_through(sizes: Collection[_Size]) -> _Line:
    """The line of least squares, each size weighed by how often it was seen lately."""
    weight = sum(size.weight for size in sizes)
    cost = sum(size.cost for size in sizes) / weight
    seconds = sum(size.seconds for size in sizes) / weight
    if len(sizes) == 1:
        return _Line(cost, seconds, None)
    spread = products = 0.0
    for size in sizes:
        aside = size.cost / size.weight - cost
        spread += size.weight * aside * aside
        products += size.weight * aside * (size.seconds / size.weight - seconds)
    return _Line(cost, seconds, max(0.0, products / spread))
