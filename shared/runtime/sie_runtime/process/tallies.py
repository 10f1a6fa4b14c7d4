"""Tallies: metrics that one loop counts in for every request.

*shell.* The library takes a lock and makes four calls to add one. Here that is an addition to a
plain number, which is told to the library when somebody reads its metrics. Promises the same
samples. It leans on what the library has for its own kinds of metric; its version is bounded.
"""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample

__all__ = ["Tally", "Timings"]


class Tally(Counter):
    """A counter: `tally.labels(…).count += 1`. Owner: one loop."""

    count = 0
    """The number that was counted and not told yet."""

    def _child_samples(self) -> Iterable[Sample]:
        counted, self.count = self.count, 0
        self._value.inc(counted)
        return super()._child_samples()


class Timings(Histogram):
    """A histogram, of seconds or of what else is measured. Owner: one loop."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._noted = [0] * len(self._upper_bounds)
        self._noted_s = 0.0

    def note(self, seconds: float) -> None:
        """Something took so long."""
        self._noted[bisect_left(self._upper_bounds, seconds)] += 1
        self._noted_s += seconds

    def _child_samples(self) -> Iterable[Sample]:
        for bucket, noted in zip(self._buckets, self._noted, strict=True):
            bucket.inc(noted)
        self._sum.inc(self._noted_s)
        self._noted, self._noted_s = [0] * len(self._noted), 0.0
        return super()._child_samples()
