"""The routes that followers live by: the head, the deltas, the snapshot.

*shell.* Promises that a follower learns of any difference at once. A range is served whole or
refused (410 below the low water, 409 ahead of the head). Only what was announced is shown.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final, cast

import msgspec
from fastapi import FastAPI, Header, Query
from msgspec import Raw
from prometheus_client import Gauge
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sie_config.http.direct import DirectApp
from sie_config.http.doors import JSON_BODY, door
from sie_config.http.history_routes import AtText, past_export
from sie_config.http.json_answers import JSON, NDJSON, json_answer
from sie_config.http.write_requests import read_body
from sie_config.writer.writer_state import describe
from sie_config.writer_process import ControlPlane
from sie_runtime.access.gate import caller_of, principal_of
from sie_runtime.http.etags import is_named
from sie_schemas.api.log import HeadTold, HeadWithWriter, LogPage, Replicas
from sie_schemas.api.past import EntryEnvelope
from sie_schemas.entry import to_envelope
from sie_schemas.errors import FixRequest
from sie_schemas.fleet import Head

__all__ = [
    "add_follow_routes",
    "check_range",
    "entry_lines",
    "head_body",
    "replicas_now",
    "wait_for_difference",
]

_LINES_AT_ONCE: Final = 100
"""Entries held for one follower at a time: a slow reader costs pages, not the log."""
_POLLS = Gauge("sie_config_polls_waiting", "long polls that wait for a difference")

Epoch = Annotated[int, Query(ge=0, le=2**53)]
Limit = Annotated[int | None, Query(ge=1, le=1_000_000)]
IfNoneMatch = Annotated[str | None, Header()]


def add_follow_routes(app: DirectApp, plane: ControlPlane) -> None:
    """Mount the routes."""
    _add_head(app, plane)
    _add_entries(app, plane)
    _add_snapshot(app, plane)


def _add_head(app: DirectApp, plane: ControlPlane) -> None:
    @app.get("/v1/configs/epoch")
    async def epoch(
        request: Request,
        log_id: str = "",
        after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        digest: str = "",
        wait: Annotated[float, Query(ge=0, le=86_400)] = 0.0,
    ) -> Response:
        """The head; with `after`, waits until it differs from the caller's position."""
        if after is not None:
            await wait_for_difference(
                plane, (log_id, after, digest), wait, whose=caller_of(request.scope)
            )
        # A thousand polls wake in one round of the loop: a few are answered at a time, and writes
        # between.
        async with plane.turnstile.turn():
            return json_answer(head_body(plane))

    @door("report", media=JSON_BODY)
    async def report(request: Request) -> Response:
        """A replica's report, where the bus brings none; answered with the head."""
        data = await read_body(request, plane.settings.report_bytes_max)
        async with plane.turnstile.turn():
            await plane.replicas.hearing.hear_over_http(data, principal_of(request.scope))
            return json_answer(head_body(plane))

    app.add_plain("POST", "/v1/configs/replicas", report)


def _add_entries(app: FastAPI, plane: ControlPlane) -> None:
    @app.get("/v1/configs/log")
    async def log(
        after: Epoch = 0,
        limit: Limit = None,
        log_id: str = "",
        accept: Annotated[str, Header()] = "",
    ) -> Response:
        """Entries after an epoch. NDJSON streams all of them, or `limit`; JSON gives one page."""
        check_range(plane, log_id, after)
        head = plane.sequencer.position.epoch
        if NDJSON in accept:
            if limit is None:
                return StreamingResponse(entry_lines(plane, after, head), media_type=NDJSON)
            async with plane.turnstile.turn():
                data = await _page_of_lines(plane, after, min(head, after + limit))
            return Response(data, media_type=NDJSON)
        page_max = plane.settings.page_entries_max
        found = await plane.journal.page(after, head, min(limit or page_max, page_max))
        told: LogPage = {
            "head": _told(plane.head),
            "entries": [cast(EntryEnvelope, Raw(to_envelope(entry))) for entry in found],
            "next_after": found[-1].epoch if found else after,
        }
        return json_answer(told)

    @app.get("/v1/configs/entries/{epoch}")
    async def entry(epoch: int) -> Response:
        """One entry as an envelope; the whole history is kept, below the low water too."""
        head = plane.sequencer.position.epoch
        found = await plane.journal.entry(epoch) if 1 <= epoch <= head else None
        if found is None:
            raise FixRequest(f"there is no epoch {epoch}; the head is {head}", code="NOT_FOUND")
        return Response(to_envelope(found), media_type=JSON)


def _add_snapshot(app: FastAPI, plane: ControlPlane) -> None:
    @app.get("/v1/configs/export")
    async def export(if_none_match: IfNoneMatch = None, at: AtText = "") -> Response:
        """The snapshot of the head, or of a past epoch or time; its ETag is its entry's hash."""
        if at:
            return await past_export(plane, at, if_none_match)
        last = plane.sequencer.last
        assert last is not None
        tag = f'"{last.hash}"'
        if is_named(if_none_match, tag):
            return Response(status_code=304, headers={"etag": tag})
        made = await plane.exports.newest(plane.sequencer)
        async with plane.turnstile.turn():
            # Of what was made, which may be later than `last`.
            return Response(made.data, headers={"etag": f'"{made.hash}"'}, media_type=JSON)


def head_body(plane: ControlPlane) -> HeadWithWriter:
    """The head and the state of the writer, as `/epoch` tells them."""
    return {**_told(plane.head), "writer": describe(plane.sequencer.state)}


async def replicas_now(plane: ControlPlane) -> Replicas:
    """Every replica that reports, against the head; those that were quiet are asked for a sign of
    life first. The lag of one on another log is None."""
    await plane.replicas.life_signs.look()
    view = plane.replicas_view()
    for row in view["replicas"]:
        row["lag_s"] = (
            await plane.replicas.convergence.lag_s(row["epoch"])
            if row["lag"]
            else (0.0 if row["lag"] == 0 else None)
        )
    return view


async def wait_for_difference(
    plane: ControlPlane, known: tuple[str, int, str], wait_s: float, *, whose: str = ""
) -> None:
    """Return when the head is not at (log id, epoch, digest), or after `wait_s`; earlier where too
    many wait."""
    # A look that waits for nothing takes nobody's place.
    if wait_s <= 0 or plane.stopping or not _same(plane, known):
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(wait_s, plane.settings.poll_wait_max_s)
    with _POLLS.track_inprogress():
        async with plane.waits.until(deadline, whose):
            while _same(plane, known) and not plane.stopping:
                await plane.sequencer.moved()


def _same(plane: ControlPlane, known: tuple[str, int, str]) -> bool:
    position = plane.sequencer.position
    log_id, epoch, digest = known
    return (log_id or position.log_id, epoch, digest or position.digest) == (
        position.log_id,
        position.epoch,
        position.digest,
    )


def check_range(plane: ControlPlane, log_id: str, after: int) -> None:
    """Raise `FixRequest` GONE or AHEAD unless entries after `after` are served as a delta."""
    head = plane.head
    details = _told(head)
    if log_id and log_id not in {begin.log_id for begin in plane.sequencer.lineage}:
        raise FixRequest(
            f"log {log_id[:8]} is not this log ({head.log_id[:8]}) nor one that it continues; "
            "GET /v1/configs/export",
            code="GONE",
            details=details,
        )
    if after > head.epoch:
        raise FixRequest(
            f"epoch {after} is ahead of the head {head.epoch} of this log",
            code="AHEAD",
            details=details,
        )
    # For everybody: a parameter that lifts the mark would be used by a replica that needs a
    # snapshot.
    if after < head.low_water - 1:
        raise FixRequest(
            f"entries below {head.low_water} are not served as a delta any more; "
            "GET /v1/configs/export",
            code="GONE",
            details=details,
        )


async def entry_lines(plane: ControlPlane, after: int, until: int) -> AsyncIterator[bytes]:
    """The entries after `after` up to `until`, as lines, a page at a time."""
    while after < until:
        # A crowd of readers at once had everybody else wait for a page of each of them.
        async with plane.pages.turn():
            part, after = await _lines_of(plane, after, until)
        if not part:
            return
        yield part


async def _lines_of(plane: ControlPlane, after: int, until: int) -> tuple[bytes, int]:
    """A page of lines, and the epoch of its last; empty where there are none."""
    # Short pages: reading and checking one is done on the loop, between two writes.
    page = await plane.journal.page(after, until, _LINES_AT_ONCE)
    lines = b"".join(to_envelope(entry) + b"\n" for entry in page)
    return lines, page[-1].epoch if page else after


async def _page_of_lines(plane: ControlPlane, after: int, until: int) -> bytes:
    """A range as lines, ended early where it gets too large for one answer."""
    parts: list[bytes] = []
    size = 0
    while after < until and size < plane.settings.page_bytes_max:
        part, after = await _lines_of(plane, after, until)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _told(head: Head) -> HeadTold:
    told: HeadTold = msgspec.to_builtins(head)
    return told
