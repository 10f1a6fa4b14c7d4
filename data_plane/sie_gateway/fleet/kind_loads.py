"""Loads: the requests to each kind of worker, and the items that it has not answered yet.

*shell.* Owns the series that workers are scaled by. Promises that they exist, at 0, for every kind
of worker that the registry has a place for: a first request is then an increase that Prometheus
sees, and not the birth of a series.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from sie_core.catalog import Catalog
from sie_gateway import metrics
from sie_schemas.fleet import WorkerKind

__all__ = ["KindLoad", "KindLoads", "kinds_of"]

_KINDS_MAX: Final = 1000
"""The kinds that have series before anybody asks; more get theirs with the first request."""


class KindLoad:
    """The load of one kind of worker."""

    __slots__ = ("cold", "in_flight_items", "requests")

    def __init__(self, kind: WorkerKind) -> None:
        self.requests: Final = metrics.KIND_REQUESTS.labels(*kind)
        self.cold: Final = metrics.COLD_REQUESTS.labels(*kind)
        self.in_flight_items = 0
        # Read when it is asked for, and not set twice for each request.
        metrics.KIND_IN_FLIGHT_ITEMS.labels(*kind).set_function(lambda: self.in_flight_items)


class KindLoads:
    """The loads of all kinds. One for each gateway process."""

    def __init__(self) -> None:
        self._loads: dict[WorkerKind, KindLoad] = {}

    def of(self, kind: WorkerKind) -> KindLoad:
        """The load of one kind, which has its series from now on."""
        load = self._loads.get(kind)
        if load is None:
            load = self._loads[kind] = KindLoad(kind)
        return load

    def advance(self, catalog: Catalog) -> None:
        """The registry changed: what is new in it has its series at once."""
        for kind in islice(kinds_of(catalog), _KINDS_MAX):
            self.of(kind)


def kinds_of(catalog: Catalog) -> Iterator[WorkerKind]:
    """Every kind of worker that a request may be routed to: of each pool, its machine profiles with
    each bundle."""
    for pool in sorted(catalog.pools):
        for machine_profile in catalog.pools[pool]["machine_profiles"]:
            for bundle in sorted(catalog.bundles):
                yield WorkerKind(pool, machine_profile, bundle)
