"""The routes that read the registry: entities, their history, and how far the replicas are.

*shell.* Promises that every answer is of one position, which it names. Documents are given back
byte for byte as admitted. A read never waits for a write, and goes on in every state of the writer.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Header
from msgspec import Raw
from starlette.responses import Response

from sie_config.control_plane import ControlPlane
from sie_config.rules import etag
from sie_core.registry import Entity
from sie_schemas.entry import Entry
from sie_schemas.errors import FixRequest

__all__ = ["add_read_routes"]

_JSON: Final = "application/json"
_KINDS: Final = {"models": "model", "adapters": "adapter", "bundles": "bundle", "pools": "pool"}

IfNoneMatch = Annotated[str | None, Header()]


def add_read_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the routes; `…/history` before the greedy paths that would take it for a name."""

    @app.get("/v1/configs/replicas")
    async def replicas() -> Response:
        """Every replica that reports, against the head."""
        return _json(plane.replicas_view())

    _add_history_routes(app, plane)
    _add_entity_routes(app, plane)


def _add_history_routes(app: FastAPI, plane: ControlPlane) -> None:
    async def rows(kind: str, key: str) -> Response:
        history = []
        for row in await plane.journal.history(kind, key):
            entry = await plane.journal.entry(row.epoch)
            assert entry is not None
            history.append(_history_row(entry, row.kind))
        if not history:
            raise _missing(kind, key)
        return _json({"kind": kind, "key": key, "history": history})

    @app.get("/v1/configs/models/{model_id:path}/history")
    async def model_history(model_id: str) -> Response:
        """Every change of a model, oldest first."""
        return await rows("model", model_id)

    @app.get("/v1/configs/adapters/{model_id:path}/{name}/history")
    async def adapter_history(model_id: str, name: str) -> Response:
        """Every change of an adapter, oldest first."""
        return await rows("adapter", f"{model_id}/{name}")


def _add_entity_routes(app: FastAPI, plane: ControlPlane) -> None:
    for plural, kind in _KINDS.items():
        _add_kind(app, plane, plural, kind)


def _add_kind(app: FastAPI, plane: ControlPlane, plural: str, kind: str) -> None:
    async def entities() -> Response:
        registry, position = plane.sequencer.registry, plane.sequencer.position
        found = [_entity(entity, position.log_id) for entity in registry.of_kind(kind)]
        head = {"log_id": position.log_id, "epoch": position.epoch}
        return _json({plural: found} | head)

    async def entity(key: str, if_none_match: IfNoneMatch = None) -> Response:
        log_id = plane.sequencer.position.log_id
        found = plane.sequencer.registry.get(kind, key)
        if found is None:
            raise _missing(kind, key)
        tag = etag(log_id, found.modified_epoch)
        if if_none_match == tag:
            return Response(status_code=304, headers={"etag": tag})
        return _json(_entity(found, log_id), {"etag": tag})

    app.add_api_route(f"/v1/configs/{plural}", entities, name=plural, summary=f"All {plural}.")
    app.add_api_route(
        f"/v1/configs/{plural}/{{key:path}}", entity, name=kind, summary=f"One {kind}."
    )


def _history_row(entry: Entry, kind: str) -> dict[str, Any]:
    return {
        "epoch": entry.epoch,
        "ts": entry.ts,
        "actor": entry.actor,
        "reason": entry.reason,
        "request_id": entry.request_id,
        "kind": kind,
        "hash": entry.hash,
    }


def _entity(entity: Entity, log_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"key": entity.key}
    if entity.kind == "model":
        shown = {"model_id": entity.key}
    elif entity.kind == "adapter":
        model_id, _, name = entity.key.rpartition("/")
        shown = {"model_id": model_id, "name": name}
    else:
        shown = {"name": entity.key}
    return shown | {
        "modified_epoch": entity.modified_epoch,
        "etag": etag(log_id, entity.modified_epoch),
        "document": Raw(entity.document),
    }


def _missing(kind: str, key: str) -> FixRequest:
    return FixRequest(f"there is no {kind} {key!r}", code=f"{kind.upper()}_NOT_FOUND")


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), headers=headers, media_type=_JSON)
