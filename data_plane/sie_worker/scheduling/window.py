"""The window: how many jobs more could run soon.

*pure.* The bound is in items, since that is what costs. A pull asks for jobs, so the window keeps a
moving average of the items in one. What is not pulled stays on the queue, where another worker can
take it, but also where nobody can overtake. While several tenants send, the window is twice as
wide, so that one who fills it leaves room for the others to be seen.
"""

from typing import Final

from sie_worker.scheduling.fairness import Senders

__all__ = ["Window"]

_WEIGHT: Final = 0.1
"""Of the newest job in the average: about the last ten jobs count."""
_SHARED: Final = 2
"""The factor by which the window is wider while several tenants send."""


class Window:
    """The bound of what one worker has in hand. Owned by the pulling loop."""

    def __init__(self, *, items_max: int) -> None:
        self._items_max = items_max
        self._items_per_job = 1.0
        self._senders = Senders()

    def took(self, items: int, tenant: str, now: float) -> None:
        """A job of so many items was pulled."""
        self._items_per_job += _WEIGHT * (items - self._items_per_job)
        self._senders.sent(tenant, now)

    def demand(self, items_in_hand: int, now: float) -> int:
        """Jobs that could be taken now; at least one while there is any room at all."""
        width = self._items_max * (_SHARED if self._senders.several(now) else 1)
        room = width - items_in_hand
        return max(1, int(room / max(1.0, self._items_per_job))) if room > 0 else 0
