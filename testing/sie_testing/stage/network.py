"""The network: who reaches whom, and how long it takes.

*shell.* Owns the partitions and the latencies. A link is a pair of names; a cut one takes nothing
in either direction, unless it is cut in one. Knows no protocol.
"""

import random
from collections.abc import Callable
from typing import Final

__all__ = ["Network"]

_FAST_S: Final = 0.002
_SLOW_S: Final = 0.15
_SLOW_SHARE: Final = 0.05
"""Most messages arrive within 2 ms, as in one rack. One in twenty takes up to 150 ms, so that
seventy later ones may overtake it."""


class Network:
    """Links between named hosts. Owner: the simulated world."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._cut: dict[tuple[str, str], None] = {}
        self.changes = 0
        self.on_change: list[Callable[[], None]] = []

    def cut(self, one: str, other: str, *, both: bool = True) -> None:
        """Take the link away, from `one` to `other`, or in both directions."""
        self._cut[one, other] = None
        if both:
            self._cut[other, one] = None
        self._changed()

    def mend(self, one: str, other: str) -> None:
        """Give the link back."""
        self._cut.pop((one, other), None)
        self._cut.pop((other, one), None)
        self._changed()

    def mend_all(self) -> None:
        """Give every link back."""
        self._cut.clear()
        self._changed()

    def carries(self, sender: str, receiver: str) -> bool:
        """True if a message from one to the other would arrive."""
        return (sender, receiver) not in self._cut

    def joins(self, one: str, other: str) -> bool:
        """True if a connection between the two holds."""
        return self.carries(one, other) and self.carries(other, one)

    def delay_s(self) -> float:
        """The seconds that one message takes: mostly little, now and then much."""
        slow = self._rng.random() < _SLOW_SHARE
        return self._rng.random() * (_SLOW_S if slow else _FAST_S)

    def _changed(self) -> None:
        self.changes += 1
        for callback in self.on_change:
            callback()
