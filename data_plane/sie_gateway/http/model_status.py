"""The status of one model: which revision each worker serves, against the one that the log wants.

*pure.* Says "everywhere" only of workers that could be asked to run the model and said so
themselves. They stand at this position of the log or beyond, and are not failing. What no ready
worker runs, by the pool, bundle and machine profiles that requests are sent to, is in effect
nowhere.
"""

from collections.abc import Sequence

from sie_core.resolver import Resolver
from sie_core.stored_documents import ModelJson
from sie_schemas.api.models import ModelStatus, ServedRevision
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import Heartbeat
from sie_schemas.revisions import model_revision

__all__ = ["model_status"]


def model_status(resolver: Resolver, workers: Sequence[Heartbeat], model_id: str) -> ModelStatus:
    """The status as JSON. Raises `FixRequest` MODEL_NOT_FOUND."""
    entity, position = resolver.registry.get("model", model_id), resolver.position
    if entity is None or position is None:
        raise FixRequest(
            f"there is no model {model_id!r}; GET /v1/configs/models lists them",
            code="MODEL_NOT_FOUND",
            field="model",
        )
    document = resolver.models[model_id]
    revisions = {name: model_revision(document, name) for name in sorted(document["profiles"])}
    bundles = _bundles(resolver, document)
    rows = [
        _row(
            worker, model_id, frozenset(revisions.values()), position.log_id, entity.modified_epoch
        )
        for worker in workers
        if worker.bundle in bundles
    ]
    return {
        "model_id": model_id,
        "log_id": position.log_id,
        "epoch": position.epoch,
        "modified_epoch": entity.modified_epoch,
        "revisions": revisions,
        "workers": rows,
        "effective": all(row["effective"] for row in rows)
        and all(_is_served(resolver, f"{model_id}:{name}", workers) for name in revisions),
    }


def _is_served(resolver: Resolver, spec: str, workers: Sequence[Heartbeat]) -> bool:
    """True if a ready worker is where the requests go."""
    try:
        model = resolver.resolve(spec)
    except FixRequest:
        return False
    return any(
        worker.ready
        and (worker.pool, worker.bundle) == (model.pool, model.bundle)
        and worker.machine_profile in model.machine_profiles
        for worker in workers
    )


def _bundles(resolver: Resolver, document: ModelJson) -> frozenset[str]:
    backends = {profile["backend"] for profile in document["profiles"].values()}
    return frozenset(
        name for name, bundle in resolver.bundles.items() if backends & set(bundle["backends"])
    )


def _row(
    worker: Heartbeat, model_id: str, wanted: frozenset[str], log_id: str, modified_epoch: int
) -> ServedRevision:
    held = worker.models.get(model_id)
    knows = worker.log_id == log_id and worker.epoch >= modified_epoch
    state = held.state if held is not None else "available"
    serves_other = bool(held and held.state == "loaded" and held.revision not in wanted)
    return {
        "worker": worker.worker_id,
        "pool": worker.pool,
        "bundle": worker.bundle,
        "epoch": worker.epoch,
        "state": state,
        "revision": held.revision if held is not None and held.revision else None,
        "reason": held.reason if held is not None else "",
        "effective": knows and worker.ready and state != "failed" and not serves_other,
    }
