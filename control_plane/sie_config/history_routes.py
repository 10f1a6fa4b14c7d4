"""The routes that read time: histories, blame, differences, and the way from a revision back.

*shell.* Promises that each answer names the epochs that it is of, and rests on entries that were
verified when they were read.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Query
from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response

from sie_config.blame import blame
from sie_config.control_plane import ControlPlane
from sie_config.differences import changes_between, human_lines, json_patch, registry_patch
from sie_config.revisions import Made, find_revision
from sie_config.timeline import Past, Step
from sie_schemas import snapshot
from sie_schemas.entry import Entry
from sie_schemas.errors import FixRequest
from sie_schemas.revisions import profile_config

__all__ = ["AtText", "add_entity_history", "add_time_routes", "past_export"]

_JSON: Final = "application/json"
_PAGE: Final = 1000

After = Annotated[int, Query(ge=0, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=_PAGE)]
AtText = Annotated[str, Query(max_length=64)]


def add_entity_history(app: FastAPI, plane: ControlPlane, *, kind: str, plural: str) -> None:
    """Mount `…/history` and `…/blame` of one kind."""

    async def history(
        key: str, request: Request, after: After = 0, limit: Limit = 100, diff: str = "false"
    ) -> Response:
        """Every change of an entity, oldest first; with `diff=true`, what each one changed."""
        if diff not in {"true", "false"}:
            raise FixRequest(f"diff is `true` or `false`, not {diff[:20]!r}", field="diff")
        head = plane.sequencer.position.epoch
        steps = await plane.timeline.steps(kind, key, after=after, until=head, limit=limit)
        if not steps and after == 0:
            raise _missing(kind, key)
        rows = [_history_row(step) for step in steps]
        if diff == "true":
            earlier = await plane.timeline.entity(kind, key, after) if after else None
            _add_patches(rows, steps, earlier.document if earlier is not None else None)
        last = steps[-1].entry.epoch if len(steps) == limit else None
        return _json({"kind": kind, "key": key, "history": rows, "next_after": last})

    async def blamed(key: str, at: AtText = "") -> Response:
        """For each field of an entity, the change that gave it its value."""
        epoch = await plane.timeline.epoch_at(at) if at else plane.sequencer.position.epoch
        steps = await plane.timeline.steps(kind, key, until=epoch)
        if not steps or steps[-1].document is None:
            raise _missing(kind, key)
        found = blame([(step, _decoded(step.document)) for step in steps])
        fields = [
            {"path": path, "value": value, **_who(step.entry)}
            for path, (value, step) in sorted(found.items())
        ]
        return _json({"kind": kind, "key": key, "epoch": epoch, "fields": fields})

    path = f"/v1/configs/{plural}/{{key:path}}"
    app.add_api_route(f"{path}/history", history, name=f"{kind}_history")
    app.add_api_route(f"{path}/blame", blamed, name=f"{kind}_blame")


def add_time_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the routes over the whole registry."""

    @app.get("/v1/configs/diff")
    async def diff(
        from_: Annotated[str, Query(alias="from", max_length=64)], to: AtText = ""
    ) -> Response:
        """What differs between two moments: RFC 6902, and lines for people."""
        old = await plane.timeline.past(await plane.timeline.epoch_at(from_))
        head = str(plane.sequencer.position.epoch)
        new = await plane.timeline.past(await plane.timeline.epoch_at(to or head))
        return _json({"from": _place(old), "to": _place(new), **_difference(old, new)})

    @app.get("/v1/configs/resolve")
    async def resolve(
        revision: Annotated[str, Query(pattern=r"^[0-9a-f]{8,64}$")],
        key: Annotated[str, Query(max_length=512)] = "",
        at: AtText = "",
    ) -> Response:
        """From the revision that an answer carried to the config, and the entry that made it.

        `key` (the model, or model/adapter) makes it quick; `at` takes the last at or before.
        """
        epoch = await plane.timeline.epoch_at(at) if at else plane.sequencer.position.epoch
        made = await find_revision(plane.timeline, revision, key=key, until=epoch)
        if made is None:
            raise FixRequest(f"no entry up to epoch {epoch} made {revision}", code="NOT_FOUND")
        return _json(_resolved(made))


async def past_export(plane: ControlPlane, at: str, if_none_match: str | None) -> Response:
    """The snapshot at an epoch or time: the bytes that were given out when it was the head."""
    epoch = await plane.timeline.epoch_at(at)
    entry = (await plane.timeline.entries([epoch]))[epoch]
    headers = {"etag": f'"{entry.hash}"'}
    if at.isdigit():
        headers["cache-control"] = "public, max-age=31536000, immutable"
    if if_none_match == headers["etag"]:
        return Response(status_code=304, headers=headers)
    past = await plane.timeline.past(epoch)
    lineage = [begin for begin in plane.sequencer.lineage if begin.epoch <= epoch]
    data = await asyncio.to_thread(_snapshot, lineage, past)
    return Response(data, headers=headers, media_type=_JSON)


def _snapshot(lineage: Sequence[Entry], past: Past) -> bytes:
    rows = (
        snapshot.encode_row(each.kind, each.key, each.modified_epoch, each.document)
        for each in past.registry
    )
    return snapshot.encode(lineage, past.entry, rows)


def _resolved(made: Made) -> dict[str, Any]:
    document = msgspec.json.decode(made.document)
    config = profile_config(document, made.profile) if made.profile else document
    return {
        "revision": made.revision,
        "kind": made.kind,
        "key": made.key,
        "profile": made.profile or None,
        "config": config,
        "document": Raw(made.document),
        "entry": _who(made.entry) | {"log_id": made.entry.log_id},
    }


def _difference(old: Past, new: Past) -> dict[str, Any]:
    changes = changes_between(old.registry, new.registry)
    return {
        "changes": [{"kind": c.kind, "key": c.key, "verb": c.verb} for c in changes],
        "patch": registry_patch(changes),
        "human": human_lines(changes),
    }


def _add_patches(rows: list[dict[str, Any]], steps: list[Step], before: bytes | None) -> None:
    for row, step in zip(rows, steps, strict=True):
        row["patch"] = json_patch(_decoded(before), _decoded(step.document))
        before = step.document


def _history_row(step: Step) -> dict[str, Any]:
    return _who(step.entry) | {"kind": step.change.kind}


def _who(entry: Entry) -> dict[str, Any]:
    return {
        "epoch": entry.epoch,
        "ts": entry.ts,
        "actor": entry.actor,
        "reason": entry.reason,
        "forced": entry.forced,
        "request_id": entry.request_id,
        "hash": entry.hash,
    }


def _place(past: Past) -> dict[str, Any]:
    entry = past.entry
    return {"log_id": entry.log_id, "epoch": entry.epoch, "ts": entry.ts, "hash": entry.hash}


def _decoded(document: bytes | None) -> Any:
    return None if document is None else msgspec.json.decode(document)


def _missing(kind: str, key: str) -> FixRequest:
    return FixRequest(f"there is no {kind} {key!r}", code=f"{kind.upper()}_NOT_FOUND")


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type=_JSON)
