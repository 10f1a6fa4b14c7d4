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


class Place(Protocol):
    """A device, as far as the others must know it."""

    @property
    def batches_out(self) -> int:
        """Batches that it has and has not ended."""

    def waiting_of(self, way: Way) -> int | None:
        """Inputs that wait for it and run this way; None where it never ran any."""


class Gathering:
    """The knowledge that one worker's devices have of each other, and of the clients of all."""

    def __init__(self) -> None:
        self.returns = Returns()
        self._places: list[Place] = []

    def join(self, place: Place) -> None:
        """There is one more device."""
        self._places.append(place)

    def until(
        self, place: Place, way: Way, queue: LaneQueue, now: float, *, running: int, free_at: float
    ) -> float:
        """Until when a device waits for more in this lane; the past where it does not.

        It is free at `free_at`, when the clients of the `running` inputs of this way are answered.
        """
        # Eight clients on two devices ran as batches of one and three for ever: the first to come
        # back left alone. Reading the weights, 8 ms of a core, is what a lone batch pays again.
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
        # Two halves at once beat one whole.
        return -(-(sum(waiting) + due) // max(1, len(waiting)))
