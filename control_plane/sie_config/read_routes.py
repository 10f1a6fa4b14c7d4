"""The routes that read entities: as they are, or as they were at any moment of the log.

*shell.* Promises that every answer is of one position, which it names. Documents are given back
byte for byte as admitted. A read never waits for a write, and goes on in every state of the writer.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Header, Query
from msgspec import Raw
from starlette.responses import Response

from sie_config.control_plane import ControlPlane
from sie_config.differences import PLURALS
from sie_config.history_routes import add_entity_history
from sie_config.rules import etag
from sie_core.registry import Entity
from sie_schemas.errors import FixRequest

__all__ = ["add_read_routes"]

_JSON: Final = "application/json"

At = Annotated[
    str, Query(max_length=64, description="An epoch, or an RFC 3339 time with its offset.")
]
IfNoneMatch = Annotated[str | None, Header()]
PageLimit = Annotated[int | None, Query(ge=1, le=100_000)]


def add_read_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the routes; `…/history` before the greedy paths that would take it for a name."""
    for kind, plural in PLURALS.items():
        add_entity_history(app, plane, kind=kind, plural=plural)
        _add_kind(app, plane, kind=kind, plural=plural)


def _add_kind(app: FastAPI, plane: ControlPlane, *, kind: str, plural: str) -> None:
    async def entities(at: At = "", after: str = "", limit: PageLimit = None) -> Response:
        log_id, head = plane.sequencer.position.log_id, plane.sequencer.position.epoch
        if at:
            epoch = await plane.timeline.epoch_at(at)
            page = await plane.timeline.page(kind, epoch, after=after, limit=(limit or -2) + 1)
        else:
            epoch = head
            page = [e for e in plane.sequencer.registry.of_kind(kind) if e.key > after]
        shown = page if limit is None else page[:limit]
        body = {
            plural: [_entity(entity, log_id) for entity in shown],
            "log_id": log_id,
            "epoch": epoch,
            "next_after": shown[-1].key if len(page) > len(shown) else None,
        }
        return _json(body)

    async def entity(key: str, at: At = "", if_none_match: IfNoneMatch = None) -> Response:
        log_id = plane.sequencer.position.log_id
        if at:
            epoch = await plane.timeline.epoch_at(at)
            found = await plane.timeline.entity(kind, key, epoch)
            missing = f"there was no {kind} {key!r} at epoch {epoch}"
        else:
            found = plane.sequencer.registry.get(kind, key)
            missing = f"there is no {kind} {key!r}"
        if found is None:
            raise FixRequest(missing, code=f"{kind.upper()}_NOT_FOUND")
        tag = etag(log_id, found.modified_epoch)
        if if_none_match == tag:
            return Response(status_code=304, headers={"etag": tag})
        return _json(_entity(found, log_id), {"etag": tag})

    path = f"/v1/configs/{plural}"
    app.add_api_route(path, entities, name=plural, summary=f"All {plural}.")
    app.add_api_route(path + "/{key:path}", entity, name=kind, summary=f"One {kind}.")


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


def _json(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), headers=headers, media_type=_JSON)
