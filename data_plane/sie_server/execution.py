"""What each request does: models loaded, adapters bound, batches run.

*shell*, owned by the device's thread, in the order of the requests; only `prepare`, and `answer`
to a `LoadAdapter`, run on other threads, beside a batch, so that no disk and no hub holds the
device up. Promises one reply for each request and that no request ends the process: what a backend
raises becomes `Failed` with the code of what was asked. When memory is full it climbs
`memory_ladder`. Knows no socket.
"""

import gc
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Final, TypeAlias, assert_never

import msgspec
import torch
from pydantic import TypeAdapter, ValidationError

from sie_schemas.documents import ProfileDocument, Source, Tasks
from sie_schemas.errors import Later, SIEError
from sie_schemas.ipc import (
    AdapterLoaded,
    BatchDone,
    Failed,
    Load,
    LoadAdapter,
    Loaded,
    Pong,
    Reply,
    RunBatch,
    Unload,
)
from sie_schemas.jobs import AdapterPin
from sie_server import metrics
from sie_server.backend import Backend, DeviceSpec, Loader, ModelSpec, load_failed
from sie_server.hub_cache import HubCache
from sie_server.memory import host_available_bytes
from sie_server.memory_ladder import is_out_of_memory, run_batch, with_room
from sie_server.registry import find_backend, require_backend
from sie_server.residency import Residency
from sie_server.sources import Weights, resolve

__all__ = ["DeviceRequest", "Execution", "Pressure", "Resident"]

_LOG: Final = logging.getLogger(__name__)
_SOURCE: Final[TypeAdapter[Source]] = TypeAdapter(Source)

DeviceRequest: TypeAlias = Load | LoadAdapter | Unload | RunBatch


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model and what was told of it."""

    backend: Backend
    loaded: Loaded
    weights: Weights | None = None
    adapters: dict[AdapterPin, Weights] = field(default_factory=dict)
    """Kept with `weights`, so that their files stay in the hub's cache as long as the model."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """When models leave although there is room: idle for `idle_s`, or the host's memory short."""

    idle_s: float = inf
    host_bytes_min: int = 0
    available_bytes: Callable[[], int | None] = host_available_bytes

    def is_high(self) -> bool:
        """Whether the host has less left than it must keep."""
        if not self.host_bytes_min:
            return False
        available = self.available_bytes()
        return available is not None and available < self.host_bytes_min


class Execution:
    """The models on one device."""

    def __init__(
        self,
        device: DeviceSpec,
        *,
        memory_bytes_max: int,
        pressure: Pressure | None = None,
        hub: HubCache | None = None,
    ) -> None:
        self._device = device
        self._hub = hub or HubCache()
        self._pressure = pressure or Pressure()
        self._pinned: set[str] = set()
        """Revisions that leave only when they are unloaded by name."""
        self._models: dict[str, Resident] = {}
        self._residency: Residency[str] = Residency(memory_bytes_max)

    def awaits_adapters(self, request: DeviceRequest) -> bool:
        """Whether a batch names adapters that are not in memory."""
        return isinstance(request, RunBatch) and not self._device.adapters.holds(
            request.model_revision, (request.adapter, *request.adapters)
        )

    def prepare(self, request: DeviceRequest) -> Weights | Failed | None:
        """What must be at hand before the device is taken: a model's files, a batch's adapters."""
        try:
            if isinstance(request, Load) and request.revision not in self._models:
                # The backend first: a name that nobody knows is told before gigabytes are hashed.
                require_backend(_profile(request.config.get("profile")).backend)
                return self._weights(request)
            if isinstance(request, RunBatch):
                self._backend(request.model_revision).prepare(request)
            return None
        except SIEError as error:
            # A batch hears of it from the device, where its model may have come meanwhile.
            return _failed(request, error.code, error.message, error.retry_after_s)
        except Exception as error:
            return _unforeseen(request, error)

    def answer(self, request: DeviceRequest, weights: Weights | None = None) -> Reply:
        """Do a request, whatever happens. `weights` are those that `prepare` gave for a load."""
        try:
            return self._do(request, weights)
        except SIEError as error:
            # A code of loading says the same of an adapter, whose source failed.
            code = error.code
            if isinstance(request, LoadAdapter) and code == "MODEL_LOAD_FAILED":
                code = "ADAPTER_LOAD_FAILED"
            return _failed(request, code, error.message, error.retry_after_s)
        except Exception as error:
            # Backends are other people's code: what they raise fails the request, not the process.
            return _unforeseen(request, error)

    def _do(self, request: DeviceRequest, weights: Weights | None) -> Reply:
        match request:
            case Load():
                return self._load(request, weights)
            case LoadAdapter():
                return self._load_adapter(request)
            case Unload():
                self._unload(request.revision)
                return Pong(request.id)
            case RunBatch():
                return self._run(request)
            case _:
                assert_never(request)

    def _load(self, request: Load, weights: Weights | None) -> Loaded:
        resident = self._models.get(request.revision)
        if resident is None:
            started = time.perf_counter()
            spec, loader = _spec(request, weights or self._weights(request))
            backend = with_room(lambda: loader(spec, self._device), self._make_room(""))
            resident = self.adopt(
                request.revision,
                backend,
                weights=spec.weights,
                load_ms=(time.perf_counter() - started) * 1000,
            )
            _LOG.info("loaded %s (%s)", spec.model_id, resident.loaded.execution)
        if request.pinned:
            self._pinned.add(request.revision)
        else:
            self._pinned.discard(request.revision)
        self._account(request.revision, resident.backend)
        return msgspec.structs.replace(resident.loaded, id=request.id)

    def adopt(
        self,
        revision: str,
        backend: Backend,
        *,
        weights: Weights | None = None,
        load_ms: float = 0.0,
    ) -> Resident:
        """Make a backend that is loaded already the model of a revision."""
        described = msgspec.structs.replace(backend.describe(), revision=revision, load_ms=load_ms)
        resident = Resident(backend, described, weights)
        self._models[revision] = resident
        self._account(revision, backend)
        return resident

    def _load_adapter(self, request: LoadAdapter) -> AdapterLoaded:
        resident = self._resident(request.model_revision)
        weights = self._weights(request)
        resident.backend.load_adapter(request.adapter, weights)
        resident.adapters[request.adapter] = weights
        return AdapterLoaded(request.id, request.adapter)

    def _run(self, request: RunBatch) -> BatchDone:
        backend = self._backend(request.model_revision)
        self._residency.touch(request.model_revision, time.monotonic())
        started = time.perf_counter()
        answers = run_batch(backend.run, request, self._make_room(request.model_revision))
        return BatchDone(
            id=request.id,
            answers=answers,
            inference_ms=(time.perf_counter() - started) * 1000,
        )

    def _weights(self, request: Load | LoadAdapter) -> Weights:
        return resolve(_source(request.config.get("source")), self._hub)

    def _backend(self, revision: str) -> Backend:
        return self._resident(revision).backend

    def _resident(self, revision: str) -> Resident:
        resident = self._models.get(revision)
        if resident is None:
            raise Later(
                f"no model is loaded at revision {revision[:12]}; load it and ask again",
                code="MODEL_LOADING",
            )
        return resident

    def _account(self, revision: str, backend: Backend) -> None:
        """Note what a model holds now, and let others leave if that is too much together."""
        self._residency.put(revision, backend.memory_bytes(), time.monotonic())
        for leaving in self._residency.excess(pinned=[revision, *self._pinned]):
            _LOG.info("the model at revision %s leaves to make room", leaving[:12])
            metrics.EVICTIONS.labels("budget").inc()
            self._unload(leaving)
        self._relieve(revision)
        self._gauge()

    def tend(self) -> None:
        """Let go of what was not used for long, and of more where the host runs short."""
        since = time.monotonic() - self._pressure.idle_s
        for leaving in self._residency.idle(since, pinned=self._pinned):
            _LOG.info("the model at revision %s was idle and leaves", leaving[:12])
            metrics.EVICTIONS.labels("idle").inc()
            self._unload(leaving)
        self._relieve()

    def _relieve(self, *running: str) -> None:
        """Let the least recently used model leave where the host is short of memory.

        One at a time: what it held is not seen to be free at once.
        """
        leaving = self._residency.oldest(pinned=[*running, *self._pinned])
        if leaving is not None and self._pressure.is_high():
            _LOG.warning("the host's memory is short: the model at %s leaves", leaving[:12])
            metrics.EVICTIONS.labels("host").inc()
            self._unload(leaving)
            _free_caches()

    def _make_room(self, pinned: str) -> Callable[[], bool]:
        """The rungs of one request: first what is cached, then model after model, oldest first."""
        rungs = self._rungs(pinned)
        return lambda: next(rungs, False)

    def _rungs(self, pinned: str) -> Iterator[bool]:
        _free_caches()
        yield True
        while (leaving := self._residency.oldest(pinned=[pinned, *self._pinned])) is not None:
            _LOG.warning("memory is full: the model at revision %s leaves", leaving[:12])
            metrics.EVICTIONS.labels("memory").inc()
            self._unload(leaving)
            _free_caches()
            yield True

    def _unload(self, revision: str) -> None:
        leaving = self._models.pop(revision, None)
        self._residency.remove(revision)
        self._pinned.discard(revision)
        self._gauge()
        if leaving is not None:
            leaving.backend.leave()

    def _gauge(self) -> None:
        metrics.MODELS_LOADED.set(len(self._models))
        metrics.MODEL_BYTES.set(self._residency.used_bytes)


def _free_caches() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _source(value: object) -> Source:
    try:
        return _SOURCE.validate_json(msgspec.json.encode(value))
    except ValidationError as error:
        raise load_failed(f"the source in the config is not valid: {_first(error)}") from error


def _profile(value: object) -> ProfileDocument:
    try:
        return ProfileDocument.model_validate_json(msgspec.json.encode(value))
    except ValidationError as error:
        raise load_failed(f"the model's profile is not valid: {_first(error)}") from error


def _spec(request: Load, weights: Weights) -> tuple[ModelSpec, Loader]:
    config = request.config
    profile = _profile(config.get("profile"))
    loader = find_backend(profile.backend)
    try:
        tasks = Tasks.model_validate_json(msgspec.json.encode(config.get("tasks")))
    except ValidationError as error:
        raise load_failed(f"the model's tasks are not valid: {_first(error)}") from error
    spec = ModelSpec(
        model_id=str(config.get("model_id")),
        revision=request.revision,
        weights=weights,
        tasks=tasks,
        profile=profile,
    )
    return spec, loader


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}"


def _unforeseen(request: DeviceRequest, error: Exception) -> Failed:
    if is_out_of_memory(error):
        return _failed(
            request,
            "RESOURCE_EXHAUSTED",
            f"the device's memory does not hold this: {_brief(error)}; send less at once",
            None,
        )
    match request:
        case Load():
            code = "MODEL_LOAD_FAILED"
        case LoadAdapter():
            code = "ADAPTER_LOAD_FAILED"
        case _:
            code = "INFERENCE_ERROR"
    _LOG.error("request %d failed unforeseen", request.id, exc_info=error)
    return _failed(request, code, _brief(error), None)


def _failed(request: DeviceRequest, code: str, message: str, retry_after_s: float | None) -> Failed:
    return Failed(id=request.id, code=code, message=message, retry_after_s=retry_after_s)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:500]}"
