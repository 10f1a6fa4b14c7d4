"""The gateway's views of models and of the cluster: plain JSON from the resolver and the fleet.

*pure.* Promises that a view is of one registry and one fleet, and costs what it tells. Says of a
model only what the log and the heartbeats said. Dimensions and limits that only a loaded model
knows are null until one is.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, cast

from msgspec import Raw, Struct, to_builtins

from sie_core.backend_options import inputs_of
from sie_core.registry import Entity
from sie_core.resolver import Resolver
from sie_core.stored_documents import ProfileJson, TasksJson
from sie_core.troubles import Trouble, fleet_troubles, worst_first
from sie_schemas.api.cluster import ClusterHead, JudgedWorker, ModelSummary, WorkerInfo
from sie_schemas.api.models import (
    ConfigDocument,
    InfinityModel,
    ModelDims,
    ModelInfo,
    ModelLoadError,
    NamedModel,
    OllamaModel,
    OpenAICapabilities,
    OpenAICard,
    OpenAIModel,
)
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import Heartbeat, ModelReport
from sie_schemas.revisions import model_revision

__all__ = [
    "LongView",
    "Rows",
    "cluster_view",
    "config_view",
    "configs_view",
    "infinity_models_view",
    "model_view",
    "models_view",
    "ollama_models_view",
]

_SaidOf: TypeAlias = Callable[[str], Sequence[tuple[Heartbeat, ModelReport]]]
"""The reports of workers on a model."""

_LOADED: Final = "loaded"
_CAPABILITIES: Final = {"encode": "embed", "score": "rerank", "extract": "classify"}
"""Infinity's words for what a model does."""
_XINFERENCE: Final = {"encode": "embedding", "score": "rerank"}
"""Xinference's; it has none for `extract`."""
_NO_CLOCKS: Final[Mapping[str, float]] = MappingProxyType({})
_TOLD_MAX: Final = 500
"""Characters of a worker's own words: it may be anybody's, and a person reads a sentence or two."""
_GENERATES_NOTHING: Final[OpenAICapabilities] = {
    "completion_chat": False,
    "completion_fim": False,
    "function_calling": False,
    "fine_tuning": False,
}
"""Mistral's client wants to be told, and takes some that it is not told of for given."""
_NO_GENERATION: Final = {"total": 0, "groups": []}
"""No operation of this cluster generates; clients that watch for it read these fields."""
_STATES_BEST_FIRST: Final = (_LOADED, "loading", "available", "failed")


class Rows(Struct, frozen=True):
    """A list that is made as it is sent."""

    keys: Sequence[str]
    row: Callable[[str], object]


class LongView(Struct, frozen=True):
    """An object in JSON: what is short, and its lists."""

    head: Mapping[str, object]
    lists: Mapping[str, Rows]


def models_view(resolver: Resolver, workers: Sequence[Heartbeat]) -> LongView:
    """Every model and every variant `id:profile`, in the native form and in OpenAI's."""
    names = [
        model_id if profile == "default" else f"{model_id}:{profile}"
        for model_id, document in sorted(resolver.models.items())
        for profile in sorted(document["profiles"], key=lambda name: (name != "default", name))
    ]
    said = _said_by_model(workers)
    return LongView(
        {"object": "list"},
        {
            "models": Rows(names, lambda name: _model(resolver, said, name)),
            "data": Rows(names, _openai),
        },
    )


def infinity_models_view(resolver: Resolver, workers: Sequence[Heartbeat]) -> LongView:
    """The same, with what a client of Infinity reads of each."""
    view = models_view(resolver, workers)

    def row(name: str) -> InfinityModel:
        tasks = resolver.resolve(name).document["tasks"]
        return {
            **_card(name),
            "owned_by": "infinity",
            "stats": {},
            "backend": "sie",
            "capabilities": [_CAPABILITIES[task] for task in _CAPABILITIES if task in tasks],
        }

    rows = Rows(view.lists["data"].keys, row)
    return LongView(view.head, {**view.lists, "data": rows})


def ollama_models_view(resolver: Resolver, workers: Sequence[Heartbeat]) -> LongView:
    """The models that `/api/embed` takes, as a client of Ollama lists them."""

    def takes(name: str) -> bool:
        tasks = resolver.resolve(name).document["tasks"]
        return "encode" in tasks and "dense" in tasks["encode"]["outputs"]

    def row(name: str) -> OllamaModel:
        resolved = resolver.resolve(name)
        return {
            "name": name,
            "model": name,
            "digest": resolved.revision,
            "details": {"family": resolved.profile_document["backend"]},
        }

    names = models_view(resolver, workers).lists["data"].keys
    return LongView({}, {"models": Rows([name for name in names if takes(name)], row)})


def model_view(resolver: Resolver, workers: Sequence[Heartbeat], spec: str) -> NamedModel:
    """One model. Raises `FixRequest` MODEL_NOT_FOUND or PROFILE_NOT_FOUND."""

    def said(model_id: str) -> list[tuple[Heartbeat, ModelReport]]:
        return [(each, each.models[model_id]) for each in workers if model_id in each.models]

    tasks = resolver.resolve(spec).document["tasks"]
    # The word by which clients of Xinference choose what to call.
    kind = next((word for task, word in _XINFERENCE.items() if task in tasks), None)
    native = _model(resolver, said, spec)
    return {
        **native,
        **_card(spec),
        "capabilities": {**native["capabilities"], **_GENERATES_NOTHING},
        "model_type": kind,
        "max_context_length": native["max_sequence_length"],
    }


def config_view(resolver: Resolver, kind: str, key: str) -> ConfigDocument:
    """A document as the log has it. Raises `FixRequest` MODEL_NOT_FOUND and the like."""
    entity = resolver.registry.get(kind, key)
    if entity is None:
        raise FixRequest(
            f"there is no {kind} {key!r}; GET /v1/configs/{kind}s lists them",
            code=f"{kind.upper()}_NOT_FOUND",
            field=kind,
        )
    return _config(entity)


def configs_view(resolver: Resolver, kind: Literal["model", "bundle"]) -> LongView:
    """Every document of a kind, by key."""
    keys = sorted(resolver.models if kind == "model" else resolver.bundles)

    def row(key: str) -> ConfigDocument:
        entity = resolver.registry.get(kind, key)
        assert entity is not None, "a resolver is of its registry"
        return _config(entity)

    return LongView({}, {f"{kind}s": Rows(keys, row)})


def cluster_view(
    resolver: Resolver,
    workers: Sequence[Heartbeat],
    *,
    ready: bool,
    awaited: bool,
    clocks: Mapping[str, float] = _NO_CLOCKS,
    unreached: Sequence[Trouble] = (),
    now: float | None = None,
) -> LongView:
    """The cluster as this gateway sees it, at Unix time `now` of its own clock.

    `clocks` has how many seconds the clock of each worker is ahead. `awaited`: requests wait for
    workers, or nobody can tell. `unreached` is what the gateway itself does not reach.
    """
    position = resolver.position
    said = _said_by_model(workers)
    shown = {worker.worker_id: worker for worker in workers}
    rows = [_judged(worker) for worker in workers]
    pools = Counter(document["pool"] for document in resolver.models.values())
    troubles = [*unreached, *fleet_troubles(rows, pools, clocks, awaited=awaited)]
    head: ClusterHead = {
        "timestamp": now,
        "status": "healthy" if ready and any(worker.ready for worker in workers) else "degraded",
        "type": "gateway",
        "config_epoch": str(position) if position is not None else None,
        "config_digest": position.digest if position is not None else None,
        "configured_gpu_types": sorted(
            {name for pool in resolver.pools.values() for name in pool["machine_profiles"]}
        ),
        "live_gpu_types": sorted({worker.machine_profile for worker in workers if worker.ready}),
        "cluster": {
            "worker_count": len(workers),
            "gpu_count": sum(_gpus(worker) for worker in workers),
            "models_loaded": len({name for worker in workers for name in _loaded(worker)}),
            "total_qps": round(sum(worker.answered_per_s for worker in workers), 3),
        },
        "pending_generation": dict(_NO_GENERATION),
        "troubles": to_builtins(worst_first(troubles)),
    }
    lists = {
        "workers": Rows(list(shown), lambda worker_id: _worker(shown[worker_id])),
        "models": Rows(
            sorted(resolver.models),
            lambda model_id: _model_health(model_id, said(model_id)),
        ),
    }
    return LongView(head, lists)


def _config(entity: Entity) -> ConfigDocument:
    told: ConfigDocument = {
        "modified_epoch": entity.modified_epoch,
        "document": Raw(entity.document),
        "source": "gateway-registry",
    }
    if entity.kind == "model":
        return {"model_id": entity.key, **told}
    return {"name": entity.key, **told}


def _said_by_model(workers: Sequence[Heartbeat]) -> _SaidOf:
    """Each worker's reports, by model: in one pass, so that a view costs what it tells."""
    said: dict[str, list[tuple[Heartbeat, ModelReport]]] = {}
    for worker in workers:
        for model_id, report in worker.models.items():
            said.setdefault(model_id, []).append((worker, report))
    return lambda model_id: said.get(model_id, ())


def _model(resolver: Resolver, said: _SaidOf, name: str) -> ModelInfo:
    model_id, _, profile = name.partition(":")
    document = resolver.models.get(model_id)
    if document is None or (profile or "default") not in document["profiles"]:
        # The resolver knows aliases, and says what is wrong with the rest.
        resolved = resolver.resolve(name)
        model_id, profile, document = resolved.model_id, resolved.profile, resolved.document
    profile = profile or "default"
    reports = [report for _, report in said(model_id)]
    state = _state(reports)
    return {
        "name": name,
        "loaded": state == _LOADED,
        "state": state,
        "last_error": _last_error(reports) if state == "failed" else None,
        "inputs": list(inputs_of(document["profiles"][profile]["backend"]) or ("text",)),
        "outputs": _outputs(document["tasks"]),
        "dims": _dims(reports),
        "max_sequence_length": _length(reports, document["profiles"][profile]),
        "operations": sorted(document["tasks"]),
        "revision": model_revision(document, profile),
        "profiles": {
            other: {"is_default": other == "default"} for other in sorted(document["profiles"])
        },
        "capabilities": {"streaming": False, "lora_adapters": resolver.adapter_names(model_id)},
        "aliases": list(document.get("aliases", ())),
        "pool": document["pool"],
        "description": document.get("description", ""),
    }


def _outputs(tasks: TasksJson) -> list[str]:
    outputs = list(tasks.get("encode", {}).get("outputs", ()))
    return outputs + [name for name in ("score", "extract") if name in tasks]


def _dims(reports: Sequence[ModelReport]) -> ModelDims | None:
    """The widths of the outputs; None where nobody has the model loaded."""
    told = next((report.dims for report in reports if report.dims), None)
    return cast(ModelDims, dict(told)) if told is not None else None


def _length(reports: Sequence[ModelReport], profile: ProfileJson) -> int | None:
    """The tokens that are read; None where the profile does not say, and nobody has the model
    loaded."""
    loaded = (each.max_sequence_length for each in reports if each.max_sequence_length)
    return profile.get("max_sequence_length") or next(loaded, None)


def _openai(name: str) -> OpenAIModel:
    return {**_card(name), "capabilities": _GENERATES_NOTHING}


def _card(name: str) -> OpenAICard:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "sie",
        # Clients of Mistral read no model without a type. In its words all here are `base`: none
        # was tuned at its service.
        "type": "base",
    }


def _state(reports: Sequence[ModelReport]) -> str:
    """The best that any worker reports: one that serves is enough."""
    states = {report.state for report in reports}
    return next((state for state in _STATES_BEST_FIRST if state in states), "available")


def _last_error(reports: Sequence[ModelReport]) -> ModelLoadError:
    """That of the first, where all have failed."""
    return {"code": "MODEL_LOAD_FAILED", "message": reports[0].reason}


def _gpus(worker: Heartbeat) -> int:
    """The devices of a worker; on `cpu` they are no GPUs."""
    return worker.devices if worker.machine_profile != "cpu" else 0


def _loaded(worker: Heartbeat) -> list[str]:
    return sorted(name for name, report in worker.models.items() if report.state == _LOADED)


def _judged(worker: Heartbeat) -> JudgedWorker:
    """The part of a worker's row by which `sie_core.troubles` judges it."""
    return {
        "name": worker.worker_id,
        "pool": worker.pool,
        "healthy": worker.ready,
        "devices": worker.devices,
        "devices_ready": worker.devices_ready,
        "devices_trouble": worker.devices_trouble[:_TOLD_MAX],
        "trouble": worker.trouble[:_TOLD_MAX],
    }


def _worker(worker: Heartbeat) -> WorkerInfo:
    return {
        **_judged(worker),
        "url": "",
        "gpu": worker.machine_profile,
        "gpu_count": _gpus(worker),
        "ready_gpu_slots": min(worker.devices_ready, _gpus(worker)) if worker.ready else 0,
        "bundle": worker.bundle,
        "queue_depth": worker.queue_depth,
        "pending_cost": worker.pending_cost,
        "inflight_batches": worker.batches_running,
        "qps": round(worker.answered_per_s, 3),
        "batch_fill": round(worker.batch_fill, 3),
        "loaded_models": _loaded(worker),
        "memory_used_bytes": worker.memory_used_bytes,
        "memory_total_bytes": worker.memory_total_bytes,
        "config_epoch": worker.epoch,
    }


def _model_health(model_id: str, said: Sequence[tuple[Heartbeat, ModelReport]]) -> ModelSummary:
    holders = [worker for worker, report in said if report.state == _LOADED]
    return {
        "name": model_id,
        "state": _state([report for _, report in said]),
        "worker_count": len(holders),
        "gpu_types": sorted({worker.machine_profile for worker in holders}),
        "total_queue_depth": sum(worker.queue_depth for worker in holders),
    }
