"""The things that are loaded on the device, and those that leave when room is needed.

*pure.* A `Residency` orders resident names by use; time is an argument, in seconds of any monotonic
clock. Promises that what it chooses to evict is what is worth least, of equals the least recently
used, no more than needed, never pinned. What counts as idle was not used for that long. Frees
nothing itself; its owner is the device's thread.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeAlias, TypeVar

__all__ = ["Interest", "Residency", "Worth"]

Name = TypeVar("Name", bound=Hashable)
Worth: TypeAlias = Callable[[Name], tuple[float, ...]]
"""The worth of keeping something; compared as tuples are."""

_HALF_LIFE_S: Final = 60.0
"""Long against a burst. By the last use alone, a model of the tail of Zipf's traffic stayed."""
_NAMES_MAX: Final = 1024
"""Revisions come and go for as long as a process lives."""


class Interest(Generic[Name]):
    """The amount that each name was asked for, of which a half is forgotten each minute.

    What has left keeps its count, so that it is known for what it is when it comes back. The names
    that were asked for longest ago are forgotten.
    """

    def __init__(self) -> None:
        self._counts: dict[Name, tuple[float, float]] = {}
        """(count, as of when), the last that was asked for last."""

    def add(self, name: Name, amount: float, now: float) -> None:
        """So much was asked for."""
        total = self.of(name, now) + amount
        self._counts.pop(name, None)
        self._counts[name] = (total, now)
        if len(self._counts) > _NAMES_MAX:
            del self._counts[next(iter(self._counts))]

    def of(self, name: Name, now: float) -> float:
        """The part that is left of its count; 0 for what was never asked for."""
        count, since = self._counts.get(name, (0.0, now))
        return float(count * 0.5 ** ((now - since) / _HALF_LIFE_S))


class Residency(Generic[Name]):
    """Sizes of what is resident, least recently used first. `bytes_max` 0 sets no limit."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._sizes: dict[Name, int] = {}
        self._used_at: dict[Name, float] = {}

    def __contains__(self, name: Name) -> bool:
        return name in self._sizes

    @property
    def used_bytes(self) -> int:
        """Bytes of everything resident."""
        return sum(self._sizes.values())

    def size(self, name: Name) -> int:
        """Bytes of something resident; 0 of what is not."""
        return self._sizes.get(name, 0)

    def put(self, name: Name, size_bytes: int, now: float = 0.0) -> None:
        """Something is resident now, or has grown; it becomes the most recently used."""
        self._sizes.pop(name, None)
        self._sizes[name] = size_bytes
        self._used_at[name] = now

    def touch(self, name: Name, now: float = 0.0) -> None:
        """Something resident was used."""
        self._sizes[name] = self._sizes.pop(name)
        self._used_at[name] = now

    def remove(self, name: Name) -> None:
        """Something left. Unknown names are no error: leaving twice is leaving."""
        self._sizes.pop(name, None)
        self._used_at.pop(name, None)

    def idle(self, since: float, pinned: Iterable[Name]) -> tuple[Name, ...]:
        """The names that were last used at `since` or before; what is pinned stays."""
        kept = frozenset(pinned)
        return tuple(
            name for name in self._sizes if name not in kept and self._used_at[name] <= since
        )

    def first_out(self, pinned: Iterable[Name], *, worth: Worth[Name] | None = None) -> Name | None:
        """The name that is worth least of those not pinned: it leaves first of a full device."""
        return next(iter(self._leaving_order(pinned, worth)), None)

    def excess(
        self, pinned: Iterable[Name], *, coming: int = 0, worth: Worth[Name] | None = None
    ) -> tuple[Name, ...]:
        """The names to remove so that the rest and `coming` bytes fit; what is pinned stays."""
        over = self.used_bytes + coming - self._bytes_max if self._bytes_max else 0
        leaving: list[Name] = []
        for name in self._leaving_order(pinned, worth):
            if over <= 0:
                break
            leaving.append(name)
            over -= self._sizes[name]
        return tuple(leaving)

    def _leaving_order(self, pinned: Iterable[Name], worth: Worth[Name] | None) -> list[Name]:
        kept = frozenset(pinned)
        movable = [name for name in self._sizes if name not in kept]
        return movable if worth is None else sorted(movable, key=worth)
