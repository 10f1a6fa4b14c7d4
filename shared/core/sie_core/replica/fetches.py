"""The fetches of a replica: one fetch at a time, and a pause after each that came to nothing.

*pure.* Time is an argument. Promises that at most one fetch is under way, and that a late answer is
not taken for the awaited one. Failures make the pauses longer, up to a bound.
"""

from typing import Final

from sie_core.chain import Position
from sie_core.replica.events import Command, Fetch, FetchSnapshot

__all__ = ["ReplicaFetches"]

_DOUBLINGS_MAX: Final = 16
"""The longest pause is reached long before; a larger power would only overflow."""


class ReplicaFetches:
    """Owner: a replica."""

    def __init__(self, *, retry_s: float, retry_max_s: float) -> None:
        self.wanted_snapshot: str = ""
        """The reason to want a snapshot; empty when there is none. It stays until one has come."""
        self._retry_s = retry_s
        self._retry_max_s = retry_max_s
        self.asked_after: int = 0
        """The epoch behind which entries were last asked for."""
        self._last_id = 0
        self._under_way: int | None = None
        self._failures = 0
        self._retry_at = 0.0

    @property
    def idle(self) -> bool:
        """True if nothing is asked for, and no snapshot is to be."""
        return self._under_way is None and not self.wanted_snapshot

    def may_ask(self, now: float) -> bool:
        """True if no fetch is under way and no pause is on."""
        return self._under_way is None and now >= self._retry_at

    def ask_entries(self, after: Position, until: int) -> list[Command]:
        """Ask for the entries after a position. The caller has looked whether it may."""
        self.asked_after = after.epoch
        return [Fetch(self._next_id(), after.log_id, after.epoch, until)]

    def ask_snapshot(self, reason: str, now: float) -> list[Command]:
        """Ask for a snapshot now, or want one until it may be asked for."""
        self.wanted_snapshot = reason
        return [FetchSnapshot(self._next_id(), reason)] if self.may_ask(now) else []

    def _next_id(self) -> int:
        self._last_id += 1
        self._under_way = self._last_id
        return self._last_id

    def ended(self, fetch_id: int) -> bool:
        """Note that a fetch ended; False if it is not the one that is under way."""
        if fetch_id != self._under_way:
            return False
        self._under_way = None
        return True

    def succeeded(self) -> None:
        """Note that the answer was of use: the next failure is the first again."""
        self._failures = 0

    def pause(self, now: float) -> None:
        """Pause after an answer of no use, or none: do not ask again at once."""
        # Bounded: a replica whose writer had been away for long asked again after a day.
        self._retry_at = now + min(self._retry_s * 2**self._failures, self._retry_max_s)
        self._failures = min(self._failures + 1, _DOUBLINGS_MAX)
