"""The work of each request: models loaded, adapters bound, batches run.

*shell.* Batches run, and models come and go, on the device's thread, in the order of the requests.
What would hold the device up is done on other threads, beside a batch. `prepare` fetches and
verifies files, `build` makes a model of them, and `answer` to a `LoadAdapter` reads an adapter.
Promises one reply for each request, and that no request ends the process. What a backend raises
becomes `Failed` with the code of what was asked. When memory is full it climbs `memory_ladder`.
Knows no socket.
"""

import logging
import time
from dataclasses import dataclass
from typing import Final, TypeAlias, assert_never

import msgspec

from sie_runtime.process.native_calls import told_by_native
from sie_runtime.process.tracing import begin_span
from sie_schemas.errors import SIEError
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
from sie_server import metrics
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec
from sie_server.backends.model_config import profile_of, source_of, tasks_of, templates_of
from sie_server.backends.names import load_backend, options_of, reads_graphs, require_backend
from sie_server.execution.memory_ladder import is_out_of_memory, run_batch, with_room
from sie_server.execution.residents import Pressure, Resident, Residents
from sie_server.weights.hub_cache import HubCache
from sie_server.weights.sources import resolve

__all__ = ["Built", "DeviceRequest", "Execution"]

_LOG: Final = logging.getLogger(__name__)

DeviceRequest: TypeAlias = Load | LoadAdapter | Unload | RunBatch


@dataclass(frozen=True, slots=True)
class Built:
    """A model that was made and is not resident yet."""

    backend: Backend
    spec: ModelSpec
    took_s: float


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
        self._residents = Residents(
            memory_bytes_max=memory_bytes_max, pressure=pressure or Pressure()
        )

    @property
    def resident(self) -> tuple[str, ...]:
        """The revisions that are loaded; from any thread."""
        return self._residents.revisions

    def told(self) -> list[dict[str, str]]:
        """Each loaded model as `/readyz` tells it; from any thread."""
        found = [self._residents.get(revision) for revision in self.resident]
        return [
            {
                "model": each.model_id,
                "revision": each.loaded.revision,
                "execution": each.loaded.execution,
                "dtype": each.loaded.dtype,
                "dtype_reason": each.loaded.dtype_reason,
            }
            for each in found
            if each is not None
        ]

    def awaits_adapters(self, request: DeviceRequest) -> bool:
        """True if a batch names adapters that are not in memory."""
        return isinstance(request, RunBatch) and not self._device.adapters.holds(
            request.model_revision, (request.adapter, *request.adapters)
        )

    def prepare(self, request: DeviceRequest) -> ModelSpec | Failed | None:
        """Get what must be at hand before the device is taken: a model's files, a batch's
        adapters."""
        try:
            if isinstance(request, Load) and self._residents.get(request.revision) is None:
                return self._spec(request)
            if isinstance(request, RunBatch):
                self._residents.require(request.model_revision).backend.prepare(request)
            return None
        except SIEError as error:
            # A batch hears of it from the device, where its model may have come meanwhile.
            return _failed(request, error.code, error.message, error.retry_after_s)
        except BaseException as error:  # a native library may panic
            return _unforeseen(request, error)

    def make_way(self, request: Load) -> bool:
        """On the device's thread: let others leave for a model that is about to be built.

        Whether any left.
        """
        before = self.resident
        self._residents.make_way(request.revision, running=request.running)
        return self.resident != before

    def build(self, request: Load, spec: ModelSpec) -> Built | Failed | None:
        """Make a model of its files, beside the batches that run.

        None where memory does not hold it: the device's thread can make room, as `answer` does.
        """
        try:
            return self._built(spec)
        except SIEError as error:
            return _failed(request, error.code, error.message, error.retry_after_s)
        # A library in Rust that panics raises beside Exception: one model would end the process,
        # and with it the batches of every other.
        except BaseException as error:
            return None if is_out_of_memory(error) else _unforeseen(request, error)

    def answer(self, request: DeviceRequest, ready: ModelSpec | Built | None = None) -> Reply:
        """Do a request, whatever happens. `ready` is what `build`, or `prepare`, gave for it."""
        try:
            return self._do(request, ready)
        except SIEError as error:
            # A code of loading says the same of an adapter, whose source failed.
            code = error.code
            if isinstance(request, LoadAdapter) and code == "MODEL_LOAD_FAILED":
                code = "ADAPTER_LOAD_FAILED"
            return _failed(request, code, error.message, error.retry_after_s)
        except BaseException as error:
            # Backends are other people's code: what they raise fails the request, not the process.
            return _unforeseen(request, error)

    def adopt(self, revision: str, backend: Backend) -> None:
        """Make a backend that is loaded already the model of a revision."""
        loaded = msgspec.structs.replace(backend.describe(), revision=revision)
        self._residents.put(revision, Resident(backend, loaded))

    def tend(self) -> None:
        """Let go of what was not used for long, and of more where the host runs short."""
        self._residents.tend()

    def _do(self, request: DeviceRequest, ready: ModelSpec | Built | None) -> Reply:
        match request:
            case Load():
                return self._load(request, ready)
            case LoadAdapter():
                return self._load_adapter(request)
            case Unload():
                self._residents.unload(request.revision)
                return Pong(request.id)
            case RunBatch():
                return self._run(request)
            case _:
                assert_never(request)

    def _load(self, request: Load, ready: ModelSpec | Built | None) -> Loaded:
        resident = self._residents.get(request.revision)
        if resident is None:
            resident = self._made(request, ready)
            again = self._residents.was_here(request.revision)
            metrics.LOADS.labels("again" if again else "first").inc()
            self._residents.put(request.revision, resident, running=request.running)
        else:
            self._residents.account(request.revision, running=request.running)
        self._residents.pin(request.revision, pinned=request.pinned)
        return msgspec.structs.replace(
            resident.loaded, id=request.id, resident=self._residents.revisions
        )

    def _made(self, request: Load, ready: ModelSpec | Built | None) -> Resident:
        if isinstance(ready, Built):
            built = ready
        else:
            spec = ready or self._spec(request)
            make_room = self._residents.make_room(running=request.running)
            built = with_room(lambda: self._built(spec), make_room)
        metrics.LOAD_SECONDS.observe(built.took_s)
        model_id, profile = built.spec.model_id, built.spec.profile
        loaded = msgspec.structs.replace(
            built.backend.describe(),
            revision=request.revision,
            load_ms=built.took_s * 1000,
            options=options_of(profile.backend),
            templates=templates_of(profile),
        )
        _LOG.info(
            "loaded %s (%s) on %s%s",
            model_id,
            loaded.execution,
            self._device.name,
            f" in {loaded.dtype}: {loaded.dtype_reason}" if loaded.dtype else "",
        )
        return Resident(built.backend, loaded, built.spec.weights, model_id)

    def _built(self, spec: ModelSpec) -> Built:
        started = time.perf_counter()
        backend = load_backend(spec, self._device)
        spec.weights.check_unchanged()
        return Built(backend, spec, time.perf_counter() - started)

    def _load_adapter(self, request: LoadAdapter) -> AdapterLoaded:
        resident = self._residents.require(request.model_revision)
        weights = resolve(source_of(request), self._hub)
        resident.backend.load_adapter(request.adapter, weights)
        resident.adapters[request.adapter] = weights
        return AdapterLoaded(request.id, request.adapter)

    def _run(self, request: RunBatch) -> BatchDone:
        backend = self._residents.require(request.model_revision).backend
        self._residents.used(request.model_revision, len(request.inputs))
        span = begin_span("execute", "internal", parent=request.trace) if request.trace else None
        started = time.perf_counter()
        make_room = self._residents.make_room(request.model_revision)
        try:
            answers = run_batch(backend.run, request, make_room)
        finally:
            took_s = time.perf_counter() - started
            metrics.BUSY_SECONDS.inc(took_s)
            if span is not None:
                span.tell("sie.device", self._device.name)
                span.tell("sie.inputs", len(request.inputs))
                span.end()
        return BatchDone(id=request.id, answers=answers, inference_ms=took_s * 1000)

    def _spec(self, request: Load) -> ModelSpec:
        """Read a load's config, once, and get the files that it names. Raises MODEL_LOAD_FAILED."""
        # The document first: what is wrong with it is told before gigabytes are hashed.
        profile, tasks = profile_of(request), tasks_of(request)
        require_backend(profile.backend)
        weights = resolve(source_of(request), self._hub, graphs=reads_graphs(profile.backend))
        model_id = str(request.config.get("model_id"))
        return ModelSpec(model_id, request.revision, weights, tasks, profile)


def _unforeseen(request: DeviceRequest, error: BaseException) -> Failed:
    told_by_native(error)
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


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:500]}"
