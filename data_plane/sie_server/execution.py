"""What each request does: models loaded, adapters bound, batches run.

*shell*, owned by the device's thread: every method runs there, in the order of the requests.
Promises one reply for each request and that no request ends the process: what a backend raises
becomes `Failed` with the code of what was asked. Knows no socket.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

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
from sie_server.backend import Backend, DeviceSpec, ModelSpec, load_failed
from sie_server.registry import find_backend
from sie_server.residency import Residency
from sie_server.sources import resolve

__all__ = ["DeviceRequest", "Execution", "Resident"]

_LOG: Final = logging.getLogger(__name__)
_SOURCE: Final[TypeAdapter[Source]] = TypeAdapter(Source)

DeviceRequest: TypeAlias = Load | LoadAdapter | Unload | RunBatch


@dataclass(frozen=True, slots=True)
class Resident:
    """A loaded model and what was told of it."""

    backend: Backend
    loaded: Loaded


class Execution:
    """The models on one device."""

    def __init__(self, device: DeviceSpec, *, memory_bytes_max: int) -> None:
        self._device = device
        self._models: dict[str, Resident] = {}
        self._residency = Residency(memory_bytes_max)

    def answer(self, request: DeviceRequest) -> Reply:
        """Do a request, whatever happens."""
        try:
            return self._do(request)
        except SIEError as error:
            # A code of loading says the same of an adapter, whose source failed.
            code = error.code
            if isinstance(request, LoadAdapter) and code == "MODEL_LOAD_FAILED":
                code = "ADAPTER_LOAD_FAILED"
            return _failed(request, code, error.message, error.retry_after_s)
        except Exception as error:
            # Backends are other people's code: what they raise fails the request, not the process.
            return _unforeseen(request, error)

    def _do(self, request: DeviceRequest) -> Reply:
        match request:
            case Load():
                return self._load(request)
            case LoadAdapter():
                return self._load_adapter(request)
            case Unload():
                self._unload(request.revision)
                return Pong(request.id)
            case RunBatch():
                return self._run(request)
            case _:
                assert_never(request)

    def _load(self, request: Load) -> Loaded:
        resident = self._models.get(request.revision)
        if resident is None:
            started = time.perf_counter()
            spec, loader = _spec(request)
            backend = loader(spec, self._device)
            resident = self.adopt(
                request.revision, backend, load_ms=(time.perf_counter() - started) * 1000
            )
            _LOG.info("loaded %s (%s)", spec.model_id, resident.loaded.execution)
        self._account(request.revision, resident.backend)
        return msgspec.structs.replace(resident.loaded, id=request.id)

    def adopt(self, revision: str, backend: Backend, *, load_ms: float = 0.0) -> Resident:
        """Make a backend that is loaded already the model of a revision."""
        described = msgspec.structs.replace(backend.describe(), revision=revision, load_ms=load_ms)
        resident = Resident(backend, described)
        self._models[revision] = resident
        self._account(revision, backend)
        return resident

    def _load_adapter(self, request: LoadAdapter) -> AdapterLoaded:
        backend = self._backend(request.model_revision)
        source = request.config.get("source")
        try:
            weights = resolve(_SOURCE.validate_json(msgspec.json.encode(source)))
        except ValidationError as error:
            raise load_failed(f"the adapter's source is not valid: {_first(error)}") from error
        backend.load_adapter(request.adapter, weights)
        self._account(request.model_revision, backend)
        return AdapterLoaded(request.id, request.adapter)

    def _run(self, request: RunBatch) -> BatchDone:
        backend = self._backend(request.model_revision)
        self._residency.touch(request.model_revision)
        started = time.perf_counter()
        answers = backend.run(request)
        return BatchDone(
            id=request.id,
            answers=answers,
            inference_ms=(time.perf_counter() - started) * 1000,
        )

    def _backend(self, revision: str) -> Backend:
        resident = self._models.get(revision)
        if resident is None:
            raise Later(
                f"no model is loaded at revision {revision[:12]}; load it and ask again",
                code="MODEL_LOADING",
            )
        return resident.backend

    def _account(self, revision: str, backend: Backend) -> None:
        """Note what a model holds now, and let others leave if that is too much together."""
        self._residency.put(revision, backend.memory_bytes())
        for leaving in self._residency.excess(pinned=[revision]):
            _LOG.info("the model at revision %s leaves to make room", leaving[:12])
            self._unload(leaving)

    def _unload(self, revision: str) -> None:
        self._models.pop(revision, None)
        self._residency.remove(revision)


def _spec(request: Load) -> tuple[ModelSpec, Any]:
    config = request.config
    try:
        source = _SOURCE.validate_json(msgspec.json.encode(config.get("source")))
        tasks = Tasks.model_validate_json(msgspec.json.encode(config.get("tasks")))
        profile = ProfileDocument.model_validate_json(msgspec.json.encode(config.get("profile")))
    except ValidationError as error:
        raise load_failed(f"the model's config is not valid: {_first(error)}") from error
    # The backend first: a name that nobody knows is told before gigabytes are hashed.
    loader = find_backend(profile.backend)
    spec = ModelSpec(
        model_id=str(config.get("model_id")),
        revision=request.revision,
        weights=resolve(source),
        tasks=tasks,
        profile=profile,
    )
    return spec, loader


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'document'}: {problem['msg']}"


def _unforeseen(request: DeviceRequest, error: Exception) -> Failed:
    if _out_of_memory(error):
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


def _out_of_memory(error: Exception) -> bool:
    # The CPU allocator has no exception of its own.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _failed(request: DeviceRequest, code: str, message: str, retry_after_s: float | None) -> Failed:
    return Failed(id=request.id, code=code, message=message, retry_after_s=retry_after_s)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:500]}"
