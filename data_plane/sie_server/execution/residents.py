"""The models that are loaded on one device, and which of them leave.

*device*, owned by the device's thread; other threads only ask what is there. Models leave when the
budget is full: `residency` says which, what is asked for least for its size. They leave when they
are idle, when the host runs short of memory, and when the device's memory is full. Never one that
is pinned, nor the one that is about to run or came; what a load is told to be running leaves last.
"""

import gc
import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Final

import torch

from sie_schemas.errors import Later
from sie_schemas.ipc import Loaded
from sie_schemas.jobs import AdapterPin
from sie_server import metrics
from sie_server.backends.backend import Backend
from sie_server.device.memory import host_available_bytes
from sie_server.device.residency import Interest, Residency, Worth
from sie_server.weights.sources import Weights

__all__ = ["Pressure", "Resident", "Residents"]

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model and what was told of it."""

    backend: Backend
    loaded: Loaded
    weights: Weights | None = None
    model_id: str = ""
    adapters: dict[AdapterPin, Weights] = field(default_factory=dict)
    """Kept with `weights`, so that their files stay in the hub's cache as long as the model."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """The reasons to let models go although there is room: idle for `idle_s`, or short host
    memory."""

    idle_s: float = inf
    host_bytes_min: int = 0
    available_bytes: Callable[[], int | None] = host_available_bytes

    def is_high(self) -> bool:
        """True if the host has less left than it must keep."""
        if not self.host_bytes_min:
            return False
        available = self.available_bytes()
        return available is not None and available < self.host_bytes_min


class Residents:
    """The loaded models, by revision. `memory_bytes_max` 0 sets no limit; `clock` tells seconds."""

    def __init__(
        self,
        *,
        memory_bytes_max: int,
        pressure: Pressure,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pressure = pressure
        self._clock = clock
        self._models: dict[str, Resident] = {}
        self._pinned: set[str] = set()
        """Revisions that leave only when they are unloaded by name."""
        self._residency: Residency[str] = Residency(memory_bytes_max)
        self._interest: Interest[str] = Interest()
        self._sizes: dict[str, int] = {}
        """Bytes of each revision that was ever loaded: room can be made before it comes back."""

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions that are loaded."""
        return tuple(self._models)

    def was_here(self, revision: str) -> bool:
        """True if a revision was loaded before, whether or not it has left since."""
        return revision in self._sizes

    def get(self, revision: str) -> Resident | None:
        """A model that is loaded."""
        return self._models.get(revision)

    def require(self, revision: str) -> Resident:
        """A model that is loaded. Raises MODEL_LOADING."""
        resident = self._models.get(revision)
        if resident is None:
            raise Later(
                f"no model is loaded at revision {revision[:12]}; load it and ask again",
                code="MODEL_LOADING",
            )
        return resident

    def put(self, revision: str, resident: Resident, *, running: Collection[str] = ()) -> None:
        """A model was loaded. Others leave if that is too much together."""
        self._models[revision] = resident
        self.account(revision, running=running)

    def account(self, revision: str, *, running: Collection[str]) -> None:
        """Note what a model holds now, and let others leave if that is too much together."""
        size = self._models[revision].backend.memory_bytes()
        self._sizes[revision] = size
        self._residency.put(revision, size, self._clock())
        self._shrink(revision, running, coming=0)
        self._relieve([revision], running)
        self._gauge()

    def make_way(self, revision: str, *, running: Collection[str]) -> None:
        """Let others leave before a revision is loaded, if its size is known from before."""
        if revision not in self._models:
            self._shrink(revision, running, coming=self._sizes.get(revision, 0))

    def pin(self, revision: str, *, pinned: bool) -> None:
        """Keep a model until it is unloaded by name, or do not any more."""
        if pinned:
            self._pinned.add(revision)
        else:
            self._pinned.discard(revision)

    def used(self, revision: str, inputs: int) -> None:
        """A batch of so many inputs is about to run."""
        now = self._clock()
        self._residency.touch(revision, now)
        self._interest.add(revision, inputs, now)

    def tend(self) -> None:
        """Let go of what was not used for long, and of more where the host runs short."""
        since = self._clock() - self._pressure.idle_s
        for leaving in self._residency.idle(since, pinned=self._pinned):
            _LOG.info("the model at revision %s was idle and leaves", leaving[:12])
            metrics.EVICTIONS.labels("idle").inc()
            self.unload(leaving)
        self._relieve()

    def make_room(self, *stays: str, running: Collection[str] = ()) -> Callable[[], bool]:
        """The rungs of one request: first what is cached, then model after model but `stays`."""
        rungs = self._rungs(stays, running)
        return lambda: next(rungs, False)

    def unload(self, revision: str) -> None:
        """Free a model; it is no error if it is not there."""
        leaving = self._models.pop(revision, None)
        self._residency.remove(revision)
        self._pinned.discard(revision)
        self._gauge()
        if leaving is not None:
            leaving.backend.leave()

    def _shrink(self, revision: str, running: Collection[str], *, coming: int) -> None:
        for leaving in self._residency.excess(
            [revision, *self._pinned], coming=coming, worth=self._worth(running)
        ):
            _LOG.info("the model at revision %s leaves to make room", leaving[:12])
            metrics.EVICTIONS.labels("budget").inc()
            self.unload(leaving)

    def _worth(self, running: Collection[str]) -> Worth[str]:
        """The worth of models: what runs stays before the rest; then what is asked for most, for a
        byte."""
        now = self._clock()

        def worth(revision: str) -> tuple[float, ...]:
            density = self._interest.of(revision, now) / max(1, self._residency.size(revision))
            return (revision in running, density)

        return worth

    def _relieve(self, stays: Collection[str] = (), running: Collection[str] = ()) -> None:
        """Let one model leave where the host is short of memory.

        One at a time: what it held is not seen to be free at once.
        """
        leaving = self._first_out(stays, running)
        if leaving is not None and self._pressure.is_high():
            _LOG.warning("the host's memory is short: the model at %s leaves", leaving[:12])
            metrics.EVICTIONS.labels("host").inc()
            self.unload(leaving)
            _free_caches()

    def _rungs(self, stays: Collection[str], running: Collection[str]) -> Iterator[bool]:
        _free_caches()
        yield True
        while (leaving := self._first_out(stays, running)) is not None:
            _LOG.warning("memory is full: the model at revision %s leaves", leaving[:12])
            metrics.EVICTIONS.labels("memory").inc()
            self.unload(leaving)
            _free_caches()
            yield True

    def _first_out(self, stays: Collection[str], running: Collection[str]) -> str | None:
        return self._residency.first_out([*stays, *self._pinned], worth=self._worth(running))

    def _gauge(self) -> None:
        metrics.MODELS_LOADED.set(len(self._models))
        metrics.MODEL_BYTES.set(self._residency.used_bytes)


def _free_caches() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
