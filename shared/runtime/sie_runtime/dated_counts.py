"""Dated counts: counters that tell when they last grew, too.

*shell* over the wall clock. A count since a start says nothing of now, and somebody who looks once
sees no growth. Each has a gauge beside it with the moment of the last, 0 where there was none.
"""

import time
from collections.abc import Sequence

from prometheus_client import Counter, Gauge

__all__ = ["DatedCount"]


class DatedCount:
    """A counter and its moment, of metrics that their module declares."""

    def __init__(self, count: Counter, last: Gauge, kinds: Sequence[str] = ()) -> None:
        """`kinds` are values of its one label, each at 0 from the start; empty without a label."""
        self._count, self._last = count, last
        for kind in kinds:
            count.labels(kind)
            last.labels(kind)

    def inc(self, *kind: str, by: int = 1) -> None:
        """Count so many of a kind, now."""
        (self._count.labels(*kind) if kind else self._count).inc(by)
        (self._last.labels(*kind) if kind else self._last).set(time.time())
