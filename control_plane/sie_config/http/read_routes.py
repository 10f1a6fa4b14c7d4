"""The routes that read entities: as they are, or as they were at any moment of the log.

*shell.* Promises that every answer is of one position, which it names. Documents are given back
byte for byte as admitted. A read never waits for a write, and goes on in every state of the writer.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Header, Query
from msgspec import Raw
from starlette.responses import Response, StreamingResponse

from sie_config.documents.differences import PLURALS
from sie_config.http.history_routes import add_entity_history
from sie_config.http.json_answers import JSON, json_answer
from sie_config.past.listing import Listing
from sie_config.past.origins import Origins
from sie_config.writer.rules import absent, etag
from sie_config.writer_process import ControlPlane
from sie_core.registry import Entity, Registry
from sie_runtime.http.etags import is_named
from sie_schemas.api.past import EntityShown

__all__ = ["add_read_routes"]

_PAGE: Final = 1000
"""The most that the SDK asks for at once. A longer list is sent while it is made."""
_ROWS: Final = 32
"""Rows of one write: of a reader who is deaf no more is held."""
_PART: Final = 400
"""Rows encoded between two turns of the loop, so that writes are not held up."""

At = Annotated[
    str, Query(max_length=64, description="An epoch, or an RFC 3339 time with its offset.")
]
IfNoneMatch = Annotated[str | None, Header()]
PageLimit = Annotated[int | None, Query(ge=1, le=100_000)]


def add_read_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the routes; `…/history` before the greedy paths that would take it for a name."""
    listing = Listing()
    known = Origins(plane.timeline)
    for kind, plural in PLURALS.items():
        add_entity_history(app, plane, known, kind=kind, plural=plural)
        _add_kind(app, plane, listing, kind=kind, plural=plural)


def _add_kind(
    app: FastAPI, plane: ControlPlane, listing: Listing, *, kind: str, plural: str
) -> None:
    async def entities(at: At = "", after: str = "", limit: PageLimit = None) -> Response:
        epoch = await plane.timeline.epoch_at(at) if at else plane.sequencer.position.epoch
        # One more than is shown tells whether there is a next page.
        wanted = None if limit is None else limit + 1
        if at:
            parts = plane.timeline.pages(kind, epoch, after=after, limit=wanted)
        else:
            registry = plane.sequencer.registry
            listing.follow(registry)
            keys = listing.keys_after(kind, after, limit=wanted)
            parts = _in_parts(registry, kind, keys)
        place = {"log_id": plane.sequencer.position.log_id, "epoch": epoch}
        lines = _listed(plural, plane.pages.each(parts), place, limit)
        if limit is None or limit > _PAGE:
            return StreamingResponse(lines, media_type=JSON)
        return Response(b"".join([part async for part in lines]), media_type=JSON)

    async def entity(key: str, at: At = "", if_none_match: IfNoneMatch = None) -> Response:
        log_id = plane.sequencer.position.log_id
        epoch = await plane.timeline.epoch_at(at) if at else None
        if epoch is not None:
            found = await plane.timeline.entity(kind, key, epoch)
        else:
            found = plane.sequencer.registry.get(kind, key)
        if found is None:
            raise absent(kind, key, epoch)
        tag = etag(log_id, found.modified_epoch)
        if is_named(if_none_match, tag):
            return Response(status_code=304, headers={"etag": tag})
        return json_answer(_entity(found, log_id), headers={"etag": tag})

    path = f"/v1/configs/{plural}"
    app.add_api_route(path, entities, name=plural, summary=f"All {plural}.")
    app.add_api_route(path + "/{key:path}", entity, name=kind, summary=f"One {kind}.")


async def _in_parts(
    registry: Registry, kind: str, keys: Sequence[str]
) -> AsyncIterator[list[Entity]]:
    for start in range(0, len(keys), _PART):
        found = [registry.get(kind, key) for key in keys[start : start + _PART]]
        yield [entity for entity in found if entity is not None]
        # Between two parts others have their turn.
        await asyncio.sleep(0)


async def _listed(
    plural: str,
    parts: AsyncIterator[list[Entity]],
    place: Mapping[str, Any],
    limit: int | None,
) -> AsyncIterator[bytes]:
    """The answer in parts; the first goes out before the last is read."""
    yield b'{"%s":[' % plural.encode()
    shown, last, more = 0, "", False
    async for part in parts:
        rows = part if limit is None else part[: limit - shown]
        more = len(rows) < len(part)
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            yield (b"," if shown else b"") + b",".join(
                msgspec.json.encode(_entity(row, place["log_id"])) for row in some
            )
            shown, last = shown + len(some), some[-1].key
    tail = {**place, "next_after": last if more else None}
    yield b"]," + msgspec.json.encode(tail)[1:]


def _entity(entity: Entity, log_id: str) -> EntityShown:
    told: EntityShown = {
        "modified_epoch": entity.modified_epoch,
        "etag": etag(log_id, entity.modified_epoch),
        "document": Raw(entity.document),
    }
    if entity.kind == "model":
        return {"model_id": entity.key, **told}
    if entity.kind == "adapter":
        model_id, _, name = entity.key.rpartition("/")
        return {"model_id": model_id, "name": name, **told}
    return {"name": entity.key, **told}
