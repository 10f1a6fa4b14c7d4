"""Rates: how many requests a second each caller may send to this process.

*pure.* Seconds are arguments, of one clock. Promises:

- In any span of time no more than `burst`, and `per_s` for each second, are taken of one caller.
- A request that comes again after the time it was told is taken, unless others came before it.
- No caller notices another.
- One who has been quiet is forgotten: names may be a client's invention.
"""

from typing import Final

from sie_schemas.errors import Later

__all__ = ["Rates"]

_ROUNDING_S: Final = 1e-6
"""A request is not refused for what sums of fractions lose."""


class Rates:
    """One for each process. `callers` is a word for them, `per_s` above 0, `burst` at least 1."""

    def __init__(self, callers: str, *, per_s: float, burst: int) -> None:
        self._callers = callers
        self._step_s = 1.0 / per_s
        self._ahead_s = (burst - 1) / per_s
        self._free_at: dict[str, float] = {}
        """The time from which a caller is as if it had never asked; who asked last stands last."""

    def __len__(self) -> int:
        return len(self._free_at)

    def take(self, caller: str, now: float) -> None:
        """Take a request. Raises `Later` RATE_LIMIT, which says when the next one would be."""
        self._forget(now)
        free_at = max(now, self._free_at.pop(caller, now))
        wait_s = free_at - now - self._ahead_s
        taken = wait_s <= _ROUNDING_S
        self._free_at[caller] = free_at + self._step_s if taken else free_at
        if not taken:
            raise Later(
                f"{self._callers} {caller!r} sends more than {1 / self._step_s:g} requests a "
                f"second: send this one again in {wait_s:.3g} s",
                code="RATE_LIMIT",
                retry_after_s=wait_s,
            )

    def _forget(self, now: float) -> None:
        """Those who asked longest ago, while they are quiet: each was added once."""
        while self._free_at:
            caller, free_at = next(iter(self._free_at.items()))
            if free_at > now:
                return
            del self._free_at[caller]
