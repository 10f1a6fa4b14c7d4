"""What is loaded on the device, and what leaves when room is needed.

*pure.* A `Residency` orders resident names by use; time is an argument, in seconds of any monotonic
clock. Promises that what it chooses to evict is the least recently used first, no more than needed,
never pinned; and that what counts as idle was not used for that long. Frees nothing itself; its
owner is the device's thread.
"""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

__all__ = ["Residency"]

Name = TypeVar("Name", bound=Hashable)


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
        """What was last used at `since` or before; what is pinned stays."""
        kept = frozenset(pinned)
        return tuple(
            name for name in self._sizes if name not in kept and self._used_at[name] <= since
        )

    def oldest(self, pinned: Iterable[Name]) -> Name | None:
        """The least recently used that is not pinned: what leaves when the device is full."""
        kept = frozenset(pinned)
        return next((name for name in self._sizes if name not in kept), None)

    def excess(self, pinned: Iterable[Name]) -> tuple[Name, ...]:
        """What must leave so that the rest fits, oldest first; what is pinned stays."""
        over = self.used_bytes - self._bytes_max if self._bytes_max else 0
        kept = frozenset(pinned)
        leaving: list[Name] = []
        for name, size in self._sizes.items():
            if over <= 0:
                break
            if name not in kept:
                leaving.append(name)
                over -= size
        return tuple(leaving)
