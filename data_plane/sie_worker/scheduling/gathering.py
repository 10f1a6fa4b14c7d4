"""Gathering: whether a device that is free waits a little for inputs that are on their way.

*pure.* Time is an argument, in seconds of any monotonic clock. A batch has a price of its own,
whatever is in it (`pacing`). Clients that were answered together come back one by one, and a device
that runs the first of them by itself pays that price twice. So it waits while more are due
(`returning`), if that costs clearly less than the price.

Promises that a device waits:

- only for inputs of which many like it came back within less than the price, so never for a client
  that is alone;
- no longer than half the price, nor than the lane's own wait, which keeps to the latency target;
- not where the price is little beside what the batch takes anyway;
- for no more than its share of what there is, where several devices are free.

It also knows when one batch has all devices to itself, and may be lent their threads. That is when
nothing else is in hand, and nothing came beside any of the last batches. Two threads lose far more
beside a neighbour than they gain without one. It cannot see who else uses the host, only what a
batch took. After one that lost much by its threads, or two that lost, the next is lent some four
times later.
"""

from math import inf
from typing import Final, Protocol

from sie_worker.scheduling.lanes import LaneQueue, Way
from sie_worker.scheduling.returning import Returns

__all__ = ["Gathering", "Place"]

_WAIT_SHARE: Final = 0.5
"""Of the price of a batch, that a wait may cost."""
_PRICES_MAX: Final = 5.0
"""The most that a batch may take, in its prices, to be worth waiting for."""

_ALONE_MIN: Final = 8
"""Batches in a row beside which nothing came, before one is lent threads."""
_LOSS: Final = 1.5
"""Times what was expected, from which on a batch lost much: beside a neighbour it is two to ten."""
_ALONE_MAX: Final = 4096
"""The same, where the last ones lost by it: a neighbour has the cores."""


class Place(Protocol):
    """A device, as far as the others must know it."""

    @property
    def batches_out(self) -> int:
        """Batches that it has and has not ended."""

    @property
    def waiting(self) -> int:
        """Inputs that wait for it."""

    def waiting_of(self, way: Way) -> int | None:
        """Inputs that wait for it and run this way; None where it never ran any."""


class Gathering:
    """The knowledge that one worker's devices have of each other, and of the clients of all."""

    def __init__(self) -> None:
        self.returns = Returns()
        self._places: list[Place] = []
        self._alone = 0
        """Batches that were answered since anything came while there was work in hand."""
        self._alone_min = _ALONE_MIN
        self._lost_before = False
        """True if the last batch that was lent threads lost by it."""

    def join(self, place: Place) -> None:
        """There is one more device."""
        self._places.append(place)

    @property
    def threads(self) -> int:
        """The number of threads that a batch about to run is lent; 0 where it is not alone."""
        devices = len(self._places)
        return devices if devices > 1 and self._alone >= self._alone_min and self._is_idle else 0

    @property
    def _is_idle(self) -> bool:
        return not any(place.batches_out or place.waiting for place in self._places)

    def came(self, way: Way, inputs: int, now: float) -> None:
        """So many inputs are about to wait at a device."""
        if not self._is_idle:
            self._alone = 0
        self.returns.came(way, inputs, now)

    def answered(self, way: Way, inputs: int, now: float) -> None:
        """A batch of so many inputs was answered."""
        self._alone += 1
        self.returns.answered(way, inputs, now)

    def lent(self, took_s: float, expected_s: float) -> None:
        """A batch that was lent threads took so long, and so long was expected without them."""
        lost = took_s >= expected_s
        if not lost:
            self._alone_min = max(_ALONE_MIN, self._alone_min // 2)
        else:
            self._alone = 0
            # A little, once, is chance.
            if self._lost_before or took_s > _LOSS * expected_s:
                self._alone_min = min(_ALONE_MAX, self._alone_min * 4)
        self._lost_before = lost

    def until(
        self, place: Place, way: Way, queue: LaneQueue, now: float, *, running: int, free_at: float
    ) -> float:
        """Until when a device waits for more in this lane; the past where it does not.

        It is free at `free_at`, when the clients of the `running` inputs of this way are answered.
        """
        price_s = queue.pace.price_s
        expected_s = queue.pace.expected_s(queue.cost)
        if not price_s or expected_s is None or expected_s > _PRICES_MAX * price_s:
            return -inf
        due = self.returns.due(way, now, running=running, free_at=free_at)
        if (
            due is None
            or due.within_s > price_s
            or queue.count >= self._share(place, way, due.inputs)
        ):
            return -inf
        wait_s = min(_WAIT_SHARE * price_s, queue.pace.wait_s)
        return min(due.by, max(free_at, queue.oldest) + wait_s)

    def _share(self, own: Place, way: Way, due: int) -> int:
        """A device's share of what waits and is due, where others are free too."""
        waiting = [
            count
            for place in self._places
            if (place is own or not place.batches_out)
            and (count := place.waiting_of(way)) is not None
        ]
        return -(-(sum(waiting) + due) // max(1, len(waiting)))
