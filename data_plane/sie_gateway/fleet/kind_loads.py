"""Loads: the requests to each kind of worker, and the items that it has not answered yet.

*shell.* Owns the series that workers are scaled by. Promises that they exist, at 0, for every kind
of worker that the registry has a place for. A first request is then an increase that Prometheus
sees, and not the birth of a series.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from typing import Final

from sie_core.resolver import Resolver
from sie_gateway import metrics
from sie_schemas.fleet import WorkerKind

__all__ = ["KindLoad", "KindLoads", "kinds_of"]

_KINDS_MAX: Final = 1000
"""The kinds that have series before anybody asks; more get theirs with the first request."""


class KindLoad:
    """The load of one kind of worker. `shown_s` is how long a cold request is shown."""

    __slots__ = ("_clock", "_cold", "_cold_at", "_shown_s", "in_flight_items", "requests")

    def __init__(self, kind: WorkerKind, shown_s: float, clock: Callable[[], float]) -> None:
        self.requests: Final = metrics.KIND_REQUESTS.labels(*kind)
        self._cold: Final = metrics.COLD_REQUESTS.labels(*kind)
        self._cold_at = -inf
        self._shown_s = shown_s
        self._clock = clock
        self.in_flight_items = 0
        metrics.KIND_WANTED.labels(*kind).set_function(self._wanted)
        # Read when it is asked for, and not set twice for each request.
        metrics.KIND_IN_FLIGHT_ITEMS.labels(*kind).set_function(lambda: self.in_flight_items)

    def found_cold(self) -> None:
        """A request found no worker."""
        self._cold.inc()
        self._cold_at = self._clock()

    @property
    def awaited(self) -> bool:
        """Do requests wait for a worker of this kind, or did one just find none?"""
        return self.in_flight_items > 0 or bool(self._wanted())

    def _wanted(self) -> float:
        return float(self._clock() - self._cold_at <= self._shown_s)


class KindLoads:
    """The loads of all kinds. One for each gateway process."""

    def __init__(
        self, *, shown_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shown_s = shown_s
        self._clock = clock
        self._loads: dict[WorkerKind, KindLoad] = {}

    def of(self, kind: WorkerKind) -> KindLoad:
        """The load of one kind, which has its series from now on."""
        load = self._loads.get(kind)
        if load is None:
            load = self._loads[kind] = KindLoad(kind, self._shown_s, self._clock)
        return load

    @property
    def awaited(self) -> bool:
        """Do requests wait for a worker of any kind?"""
        return any(load.awaited for load in self._loads.values())

    def advance(self, resolver: Resolver) -> None:
        """The registry changed: what is new in it has its series at once."""
        for kind in islice(kinds_of(resolver), _KINDS_MAX):
            self.of(kind)


def kinds_of(resolver: Resolver) -> Iterator[WorkerKind]:
    """Every kind of worker that a request may be routed to: of each pool, its machine profiles with
    each bundle."""
    for pool in sorted(resolver.pools):
        for machine_profile in resolver.pools[pool]["machine_profiles"]:
            for bundle in sorted(resolver.bundles):
                yield WorkerKind(pool, machine_profile, bundle)
