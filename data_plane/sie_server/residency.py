"""What is loaded on the device, and what leaves when room is needed.

*pure.* A `Residency` orders resident names by use. Promises that what it chooses to evict is the
least recently used first, no more than needed, never pinned. Frees nothing itself; its owner is
the device's thread.
"""

from collections.abc import Iterable

__all__ = ["Residency"]


class Residency:
    """Sizes of what is resident, least recently used first. `bytes_max` 0 sets no limit."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._sizes: dict[str, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes of everything resident."""
        return sum(self._sizes.values())

    def put(self, name: str, size_bytes: int) -> None:
        """Something is resident now, or has grown; it becomes the most recently used."""
        self._sizes.pop(name, None)
        self._sizes[name] = size_bytes

    def touch(self, name: str) -> None:
        """Something resident was used."""
        self._sizes[name] = self._sizes.pop(name)

    def remove(self, name: str) -> None:
        """Something left. Unknown names are no error: leaving twice is leaving."""
        self._sizes.pop(name, None)

    def excess(self, pinned: Iterable[str]) -> tuple[str, ...]:
        """What must leave so that the rest fits, oldest first; what is pinned stays."""
        over = self.used_bytes - self._bytes_max if self._bytes_max else 0
        kept = frozenset(pinned)
        leaving: list[str] = []
        for name, size in self._sizes.items():
            if over <= 0:
                break
            if name not in kept:
                leaving.append(name)
                over -= size
        return tuple(leaving)
