"""The routes that look at or change the cluster as a whole: revert, audit, replicas, wait.

*shell.* A revert is worked out against the head that it is judged on. So what it promises ("as it
was") holds for the entry that it makes.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from fastapi import FastAPI, Header, Query
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sie_config.documents.bodies import converted
from sie_config.documents.moments import moment_us, parse_ts
from sie_config.http.direct import DirectApp
from sie_config.http.doors import JSON_BODY, WRITE_QUERY, door
from sie_config.http.follow_routes import replicas_now
from sie_config.http.json_answers import NDJSON, json_answer
from sie_config.http.write_answers import group_answer
from sie_config.http.write_requests import json_of, read_body
from sie_config.http.writing import Writing, convergence_body
from sie_config.past.audit import AuditPage, AuditQuery, read_audit
from sie_config.replicas.convergence import Selector
from sie_config.writer.draft import Write
from sie_config.writer.operations import Kind
from sie_config.writer.reverting import revert_commands
from sie_config.writer_process import ControlPlane
from sie_core.registry import Registry
from sie_runtime.access.gate import caller_of
from sie_schemas.api.log import Asked, Forgotten, Waited
from sie_schemas.api.past import Audit
from sie_schemas.entry import Entry, log_id8
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import ReplicaReport

__all__ = ["BODIES", "ReplicaBody", "RevertBody", "WaitBody", "add_group_routes"]

_NDJSON_PAGE: Final = 1000
"""Rows held for one answer at a time, as in a page of JSON at its largest."""

T = TypeVar("T")

Text = Annotated[str | None, Query(max_length=512)]


class ChosenEntity(Struct, frozen=True, forbid_unknown_fields=True):
    """One entity of a revert."""

    kind: Kind
    key: str


class RevertBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The moment to bring back, for some entities or for all."""

    to: int | str
    entities: tuple[ChosenEntity, ...] | None = None


class ReplicaBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replica."""

    role: Literal["gateway", "worker"]
    id: str


class WaitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The goal of a wait, and the replicas that it asks; empty `roles` and `ids` are all."""

    epoch: int | None = None
    log_id: str | None = None
    until: Literal["converged", "effective"] = "converged"
    roles: tuple[Literal["gateway", "worker"], ...] = ()
    ids: tuple[str, ...] = ()
    quorum: Annotated[int, msgspec.Meta(ge=1)] | None = None
    min: Annotated[int, msgspec.Meta(ge=0)] = 1
    timeout_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0


BODIES: Final[dict[str, tuple[type[Struct], str, bool]]] = {
    "/v1/configs/revert": (RevertBody, "Bring back an older state as a new entry.", True),
    "/v1/configs/replicas": (
        ReplicaReport,
        "A replica's report, where the bus brings none; answered with the head.",
        False,
    ),
    "/v1/configs/wait": (WaitBody, "Wait until replicas are at an epoch.", False),
    "/v1/configs/replicas/forget": (ReplicaBody, "Stop counting a replica.", False),
    "/v1/configs/replicas/resync": (
        ReplicaBody,
        "Have a replica forget its history and take the snapshot of this writer.",
        False,
    ),
}
"""The body that each of these routes reads, in words, and whether the route writes the log."""


def add_group_routes(app: DirectApp, plane: ControlPlane) -> None:
    """Mount the routes."""
    groups = _Groups(plane)
    app.add_plain("POST", "/v1/configs/revert", groups.revert)
    app.add_plain("POST", "/v1/configs/wait", groups.wait)
    app.add_plain("POST", "/v1/configs/replicas/forget", groups.forget)
    app.add_plain("POST", "/v1/configs/replicas/resync", groups.resync)
    _add_replicas(app, plane)
    _add_audit(app, plane)


class _Groups:
    """The endpoints that take a body, around one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    @door("admin", trial="propose", query=WRITE_QUERY, media=JSON_BODY)
    async def revert(self, request: Request) -> Response:
        """Bring back the documents of an older moment, as a new entry."""
        raw = await read_body(request, self._plane.settings.body_bytes_max)
        body = converted(await json_of(self._plane.bodies, raw), RevertBody)
        plane = self._plane
        writing = Writing(plane, request, raw, "revert")
        chosen = None if body.entities is None else [(e.kind, e.key) for e in body.entities]

        async def work(_registry: Registry) -> Write:
            epoch = await plane.timeline.epoch_at(str(body.to))
            then = (await plane.timeline.past(epoch)).registry
            # Of one moment, after the awaits: what is reverted is what the write rests on.
            now, head = plane.sequencer.registry, plane.sequencer.position.epoch
            return msgspec.structs.replace(
                writing.asked,
                reason=writing.asked.reason or f"revert to epoch {epoch}",
                commands=revert_commands(now, then, chosen),
                basis_epoch=head,
                simultaneous=True,
            )

        return await writing.answer(work, group_answer)

    @door("read", media=JSON_BODY)
    async def wait(self, request: Request) -> Response:
        """Wait until the chosen replicas are at an epoch, by their own word."""
        plane = self._plane
        body = await _body(plane, request, WaitBody)
        entry = await _entry_of(plane, body)
        found = await plane.replicas.convergence.wait(
            entry,
            Selector(frozenset(body.roles), frozenset(body.ids)),
            body.until,
            quorum=body.quorum,
            replicas_min=body.min,
            timeout_s=min(body.timeout_s, plane.settings.convergence_wait_max_s),
            waits=plane.waits,
            whose=caller_of(request.scope),
        )
        told: Waited = {
            "log_id": entry.log_id,
            "epoch": entry.epoch,
            **convergence_body(found, body.until),
        }
        return json_answer(told)

    @door("admin", media=JSON_BODY)
    async def forget(self, request: Request) -> Response:
        """Stop counting a replica that will not come back."""
        plane = self._plane
        body = await _body(plane, request, ReplicaBody)
        known = plane.replicas.reports.forget(body.role, body.id)
        # Somebody may wait for just this one: all who wait look again.
        plane.replicas.convergence.heard(None)
        told: Forgotten = {"forgotten": known}
        return json_answer(told)

    @door("admin", media=JSON_BODY)
    async def resync(self, request: Request) -> Response:
        """Have a replica take our snapshot whatever it holds: the way out of a fork."""
        plane = self._plane
        body = await _body(plane, request, ReplicaBody)
        await plane.replicas.requests.resync(body.role, body.id)
        told: Asked = {"asked": True}
        return json_answer(told)


async def _body(plane: ControlPlane, request: Request, shape: type[T]) -> T:
    raw = await read_body(request, plane.settings.body_bytes_max)
    return converted(await json_of(plane.bodies, raw), shape)


def _add_replicas(app: FastAPI, plane: ControlPlane) -> None:
    @app.get("/v1/configs/replicas")
    async def replicas() -> Response:
        """Every replica that reports, against the head; how far behind, in epochs and seconds.

        Those that were quiet are asked for a sign of life first: a killed one is told as `gone`.
        """
        return json_answer(await replicas_now(plane))


def _add_audit(app: FastAPI, plane: ControlPlane) -> None:
    @app.get("/v1/configs/audit")
    @door("audit")
    async def audit(
        actor: Text = None,
        kind: Kind | None = None,
        key: Text = None,
        outcome: Text = None,
        since: Annotated[str, Query(max_length=64)] = "",
        before: Annotated[str, Query(max_length=64)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        accept: Annotated[str, Header()] = "",
    ) -> Response:
        """Accepted changes and refused attempts, newest first.

        `outcome` is accepted, refused, or the code of a refusal. NDJSON gives every page.
        """
        query = AuditQuery(actor=actor, kind=kind, key=key, outcome=outcome, limit=limit)
        if since:
            query = replace(query, since_us=moment_us(since, field="since"))
        if before:
            query = replace(query, before_us=moment_us(before, field="before"))
        if NDJSON in accept:
            return StreamingResponse(_audit_lines(plane, query), media_type=NDJSON)
        page = await _audit_page(plane, query)
        told: Audit = {"rows": list(page.rows), "next_before": page.next_before}
        return json_answer(told)


async def _audit_page(plane: ControlPlane, query: AuditQuery) -> AuditPage:
    # A crowd that reads at once would have a page of each of them in memory.
    async with plane.pages.turn():
        return await read_audit(
            query, plane.timeline, plane.lookup, plane.refusals, plane.sequencer
        )


async def _audit_lines(plane: ControlPlane, query: AuditQuery) -> AsyncIterator[bytes]:
    query = replace(query, limit=_NDJSON_PAGE)
    while True:
        page = await _audit_page(plane, query)
        yield b"".join(msgspec.json.encode(row) + b"\n" for row in page.rows)
        if page.next_before is None:
            return
        query = replace(query, before_us=parse_ts(page.next_before))


async def _entry_of(plane: ControlPlane, body: WaitBody) -> Entry:
    position = plane.sequencer.position
    if body.log_id not in {None, position.log_id, log_id8(position.log_id)}:
        raise FixRequest(
            f"this is log {log_id8(position.log_id)}, not {body.log_id}",
            code="GONE",
            field="log_id",
        )
    epoch = position.epoch if body.epoch is None else body.epoch
    if epoch > position.epoch:
        raise FixRequest(
            f"epoch {epoch} is ahead of the head {position.epoch}", code="AHEAD", field="epoch"
        )
    entry = await plane.journal.entry(epoch) if epoch >= 1 else None
    if entry is None:
        raise FixRequest(f"there is no epoch {epoch}", code="NOT_FOUND", field="epoch")
    return entry
