"""Adapters of one device within a byte budget: the least recently used leave, and come back.

*shell* over what it is given to read with; safe from any thread. Promises that an adapter, once
put, is found until it is removed: one that had to leave is read again when it is asked for. Reading
holds no lock, so a slow read delays nobody else. A batch keeps what it took, whoever leaves
meanwhile. Knows neither files nor models.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sie_schemas.jobs import AdapterPin
from sie_server import metrics
from sie_server.adapters.lora import Adapter
from sie_server.device.residency import Residency

__all__ = ["AdapterShelf"]


@dataclass(slots=True)
class _Place:
    """The reader of an adapter, and the adapter while it is in memory."""

    read: Callable[[], Adapter]
    adapter: Adapter | None


class AdapterShelf:
    """Adapters by (model revision, pin). `bytes_max` 0 sets no limit."""

    def __init__(self, bytes_max: int = 0) -> None:
        self._lock = threading.Lock()
        self._places: dict[str, dict[AdapterPin, _Place]] = {}
        self._residency: Residency[tuple[str, AdapterPin]] = Residency(bytes_max)

    @property
    def used_bytes(self) -> int:
        """Bytes of the adapters in memory."""
        with self._lock:
            return self._residency.used_bytes

    def resident(self, revision: str) -> int:
        """The number of a model's adapters in memory."""
        with self._lock:
            places = self._places.get(revision, {}).values()
            return sum(1 for place in places if place.adapter is not None)

    def holds(self, revision: str, pins: Iterable[AdapterPin | None]) -> bool:
        """True if all of these are in memory; None is the base, which needs none."""
        with self._lock:
            places = self._places.get(revision, {})
            found = (places.get(pin) for pin in pins if pin is not None)
            return all(place is not None and place.adapter is not None for place in found)

    def put(self, revision: str, pin: AdapterPin, read: Callable[[], Adapter]) -> None:
        """Read an adapter and keep it. Raises what `read` raises, and keeps nothing then."""
        adapter = read()
        with self._lock:
            self._keep(revision, pin, read, adapter)

    def get(self, revision: str, pin: AdapterPin) -> Adapter | None:
        """The adapter, read again if it had to leave; None if it was never put."""
        with self._lock:
            place = self._places.get(revision, {}).get(pin)
            if place is None:
                return None
            if place.adapter is not None:
                self._residency.touch((revision, pin))
                return place.adapter
        adapter = place.read()
        with self._lock:
            # A model that left meanwhile takes it along, and no other would free its bytes.
            if self._places.get(revision, {}).get(pin) is place:
                self._keep(revision, pin, place.read, adapter)
        return adapter

    def remove(self, revision: str) -> None:
        """Forget every adapter of a model."""
        with self._lock:
            for pin in self._places.pop(revision, {}):
                self._residency.remove((revision, pin))
            metrics.ADAPTER_BYTES.set(self._residency.used_bytes)

    def _keep(
        self, revision: str, pin: AdapterPin, read: Callable[[], Adapter], adapter: Adapter
    ) -> None:
        """Under the lock."""
        key = (revision, pin)
        self._places.setdefault(revision, {})[pin] = _Place(read, adapter)
        self._residency.put(key, adapter.memory_bytes)
        for leaving in self._residency.excess(pinned=[key]):
            self._places[leaving[0]][leaving[1]].adapter = None
            self._residency.remove(leaving)
        metrics.ADAPTER_BYTES.set(self._residency.used_bytes)
