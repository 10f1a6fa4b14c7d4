"""The routes that read time: histories, blame, differences, and the way from a revision back.

*shell.* Promises that each answer names the epochs that it is of, and rests on entries that were
verified when they were read.
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Final, cast

import msgspec
from fastapi import FastAPI, Query
from msgspec import Raw
from msgspec.structs import asdict
from starlette.responses import Response, StreamingResponse

from sie_config.documents.differences import (
    changes_between,
    document_patch,
    human_lines,
    json_patch,
    registry_patch,
)
from sie_config.http.json_answers import JSON, json_answer
from sie_config.past.blame import origins
from sie_config.past.origins import Origin, Origins
from sie_config.past.revisions import Made, find_revision
from sie_config.past.timeline import Step, Timeline
from sie_config.writer.rules import absent
from sie_config.writer_process import ControlPlane
from sie_core.registry import Entity, EntityId
from sie_runtime.http.etags import is_named
from sie_schemas import snapshot
from sie_schemas.api.past import (
    Author,
    Blame,
    BlamedField,
    EntityHistory,
    HistoryRow,
    Moment,
    Resolved,
)
from sie_schemas.entry import Entry
from sie_schemas.errors import FixRequest, invalid_field
from sie_schemas.revisions import profile_config

__all__ = ["AtText", "add_entity_history", "add_time_routes", "past_export"]

_PAGE: Final = 1000
"""The largest page: 1,000 entries take 11 ms at p50 (docs/performance.md)."""
_PART: Final = 400
"""Entities in one part of a long answer."""
_AFTER: Final = re.compile("^$|^[a-z]+/.")
_REVISION: Final = re.compile("^[0-9a-f]{8,64}$")
_REVISIONS: Final = (
    "8 to 64 hex digits: an answer's X-SIE-Model-Revision or X-SIE-Adapter-Revision, or its "
    "beginning"
)

After = Annotated[int, Query(ge=0, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=_PAGE)]
AtText = Annotated[str, Query(max_length=64)]


def add_entity_history(
    app: FastAPI, plane: ControlPlane, known: Origins, *, kind: str, plural: str
) -> None:
    """Mount `…/history` and `…/blame` of one kind."""

    async def history(
        key: str, after: After = 0, limit: Limit = 100, diff: str = "false", at: AtText = ""
    ) -> Response:
        """Every change of an entity, oldest first; with `diff=true`, what each one changed.

        With `at`, the changes up to that moment.
        """
        if diff not in {"true", "false"}:
            raise FixRequest(f"diff is `true` or `false`, not {diff[:20]!r}", field="diff")
        epoch = await plane.timeline.epoch_at(at) if at else plane.sequencer.position.epoch
        # A crowd that reads at once would have a page of each of them in memory.
        async with plane.pages.turn():
            steps = await plane.timeline.steps(kind, key, after=after, until=epoch, limit=limit)
            if not steps and after == 0:
                raise absent(kind, key, epoch if at else None)
            rows = [_history_row(step) for step in steps]
            if diff == "true":
                # The first row of a page is compared with what stood before the page.
                earlier = await plane.timeline.entity(kind, key, after) if after else None
                _add_patches(rows, steps, earlier.document if earlier is not None else None)
            last = steps[-1].entry.epoch if len(steps) >= limit else None
            told: EntityHistory = {"kind": kind, "key": key, "history": rows, "next_after": last}
            return json_answer(told)

    async def blamed(key: str, at: AtText = "") -> Response:
        """For each field of an entity, the change that gave it its value."""
        epoch = await plane.timeline.epoch_at(at) if at else plane.sequencer.position.epoch
        async with plane.pages.turn():
            traced = await known.at(kind, key, epoch)
        if traced is None:
            raise absent(kind, key, epoch if at else None)
        fields: list[BlamedField] = [
            {"path": path, "value": value, **_author(origin)}
            for path, value, origin in sorted(origins(traced), key=lambda each: each[0])
        ]
        told: Blame = {"kind": kind, "key": key, "epoch": epoch, "fields": fields}
        return json_answer(told)

    path = f"/v1/configs/{plural}/{{key:path}}"
    app.add_api_route(f"{path}/history", history, name=f"{kind}_history")
    app.add_api_route(f"{path}/blame", blamed, name=f"{kind}_blame")


def add_time_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the routes over the whole registry."""

    @app.get("/v1/configs/diff")
    async def diff(
        from_: Annotated[str, Query(alias="from", max_length=64)],
        to: AtText = "",
        limit: Annotated[int | None, Query(ge=1, le=_PART)] = None,
        after: Annotated[
            str, Query(max_length=600, json_schema_extra={"pattern": _AFTER.pattern})
        ] = "",
    ) -> Response:
        """The difference between two moments: RFC 6902, and lines for people.

        With `limit` it is that of so many entities after `after` (`kind/key`), by kind and key;
        `next_after` is where it goes on.
        """
        _check("after", after, _AFTER, "KIND/KEY, as `next_after` has it")
        old = await plane.timeline.epoch_at(from_)
        new = await plane.timeline.epoch_at(to) if to else plane.sequencer.position.epoch
        span = min(old, new), max(old, new)
        kind, _, key = after.partition("/")
        ids = await plane.timeline.touched(*span, after=(kind, key), limit=limit or _PART)
        places = [_place(await plane.timeline.entry(epoch)) for epoch in (old, new)]
        lines = _difference(plane.timeline, ids, span, places, limit=limit)
        # A full part may have others after it: these go out as they are found.
        if limit is None and len(ids) == _PART:
            return StreamingResponse(lines, media_type=JSON)
        return Response(b"".join([part async for part in lines]), media_type=JSON)

    @app.get("/v1/configs/resolve")
    async def resolve(
        revision: Annotated[str, Query(json_schema_extra={"pattern": _REVISION.pattern})],
        key: Annotated[str, Query(max_length=512)] = "",
        at: AtText = "",
    ) -> Response:
        """From the revision that an answer carried to the config, and the entry that made it.

        The last entry that did, at or before `at`; of the model or model/adapter that is `key`.
        """
        _check("revision", revision, _REVISION, _REVISIONS)
        epoch = await plane.timeline.epoch_at(at) if at else plane.sequencer.position.epoch
        made = await find_revision(plane.timeline, plane.lookup, revision, key=key, until=epoch)
        if made is None:
            raise FixRequest(f"no entry up to epoch {epoch} made {revision}", code="NOT_FOUND")
        return json_answer(_resolved(made))


def _check(name: str, text: str, shape: re.Pattern[str], what: str) -> None:
    """By hand: the framework's own refusal shows the expression alone."""
    # `$` alone would take a line break at the end.
    if not shape.match(text) or "\n" in text:
        raise invalid_field(name, f"{name} is {what}, not {text[:40]!r}")


async def past_export(plane: ControlPlane, at: str, if_none_match: str | None) -> Response:
    """The snapshot at an epoch or time: the bytes that were given out when it was the head."""
    epoch = await plane.timeline.epoch_at(at)
    entry = await plane.timeline.entry(epoch)
    # It is for whom a token let in, and a log that supersedes this one has another entry there.
    headers = {"etag": f'"{entry.hash}"', "cache-control": "private, no-cache"}
    if is_named(if_none_match, headers["etag"]):
        return Response(status_code=304, headers=headers)
    lineage = [begin for begin in plane.sequencer.lineage if begin.epoch <= epoch]
    lines = _snapshot(lineage, entry, plane.pages.each(plane.timeline.parts(entry)))
    return StreamingResponse(lines, headers=headers, media_type=JSON)


async def _snapshot(
    lineage: Sequence[Entry], entry: Entry, parts: AsyncIterator[Sequence[Entity]]
) -> AsyncIterator[bytes]:
    """The snapshot in parts. It breaks off where its digest is not the entry's."""
    yield snapshot.opening(lineage, entry)
    between = b""
    async for part in parts:
        yield between + b",".join(
            snapshot.encode_row(each.kind, each.key, each.modified_epoch, each.document)
            for each in part
        )
        between = b","
    yield snapshot.CLOSING


def _resolved(made: Made) -> Resolved:
    document = msgspec.json.decode(made.document)
    config = profile_config(document, made.profile) if made.profile else document
    return {
        "revision": made.revision,
        "kind": made.kind,
        "key": made.key,
        "profile": made.profile or None,
        "config": config,
        "document": Raw(made.document),
        "entry": {**_who(made.entry), "log_id": made.entry.log_id},
    }


async def _difference(
    timeline: Timeline,
    part: Sequence[EntityId],
    span: tuple[int, int],
    places: Sequence[Moment],
    *,
    limit: int | None,
) -> AsyncIterator[bytes]:
    """The answer in parts: what changed goes out while the rest is still looked up.

    `part` holds the first entities that the span touched; more are asked for while it is full, but
    for an answer that has a limit.
    """
    next_after = "/".join(part[-1]) if limit is not None and len(part) == limit else None
    old, new = places
    yield msgspec.json.encode({"from": old, "to": new})[:-1] + b',"changes":['
    patches: list[bytes] = []
    lines: list[bytes] = []
    between = b""
    while part:
        before = await timeline.states(part, old["epoch"])
        after = await timeline.states(part, new["epoch"])
        changes = changes_between(before, after, part)
        if changes:
            rows = [{"kind": c.kind, "key": c.key, "verb": c.verb} for c in changes]
            # Kept to the end: the three lists stand one after the other in the answer.
            patches.append(msgspec.json.encode(registry_patch(changes))[1:-1])
            lines.append(msgspec.json.encode(human_lines(changes))[1:-1])
            yield between + msgspec.json.encode(rows)[1:-1]
            between = b","
        if limit is not None or len(part) < _PART:
            break
        part = await timeline.touched(*span, after=part[-1], limit=_PART)
    yield b'],"patch":[' + b",".join(patches) + b'],"human":[' + b",".join(lines) + b"]"
    yield b"}" if limit is None else b',"next_after":' + msgspec.json.encode(next_after) + b"}"


def _add_patches(rows: list[HistoryRow], steps: list[Step], before: bytes | None) -> None:
    for row, step in zip(rows, steps, strict=True):
        row["patch"] = _patch(before, step.document)
        before = step.document


def _patch(before: bytes | None, after: bytes | None) -> list[dict[str, Any]]:
    if before is None or after is None:
        return json_patch(_decoded(before), _decoded(after))
    return document_patch(before, after)


def _history_row(step: Step) -> HistoryRow:
    return cast(HistoryRow, {**_who(step.entry), "kind": step.change.kind})


def _who(entry: Entry) -> Author:
    return _author(Origin.of(entry))


def _author(origin: Origin) -> Author:
    return cast(Author, asdict(origin))


def _place(entry: Entry) -> Moment:
    return {"log_id": entry.log_id, "epoch": entry.epoch, "ts": entry.ts, "hash": entry.hash}


def _decoded(document: bytes | None) -> Any:
    return None if document is None else msgspec.json.decode(document)
