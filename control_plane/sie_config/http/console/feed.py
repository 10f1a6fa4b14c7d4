"""The feed for browsers: server-sent events of the log and of the replicas.

*shell.* `GET /v1/configs/events`. Each entry is an event whose id is `<log_id8>.<epoch>`. A client
that comes again with `Last-Event-ID` gets what it missed, or `reset` where that is too much. Twice
a second `replicas` tells where everyone is, and the time here. Promises that clients are bounded in
number, all together and of each token, and share what is made for them. One who reads slowly misses
nothing and holds up nobody.

While somebody looks, replicas that were quiet for a moment are asked for a sign of life.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Header
from prometheus_client import Gauge
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sie_config.http.follow_routes import head_body, replicas_now
from sie_config.past.audit import timeline_row
from sie_config.writer_process import ControlPlane
from sie_core.replica.row_state import replica_state
from sie_core.troubles import signal_troubles, worst_first, writer_troubles
from sie_runtime.access.gate import principal_of
from sie_runtime.process.waiting import first_of
from sie_schemas.api.log import ReplicaRow
from sie_schemas.entry import log_id8
from sie_schemas.errors import Later

__all__ = ["Feed", "add_feed"]

_CLIENTS_MAX: Final = 64
"""Each holds a task and a connection: a whole on-call team with several tabs."""
_CLIENTS_OF_ONE_MAX: Final = 16
"""Of one token: a person has a page or three open, and others are to see something too."""
_MISSED_MAX: Final = 1000
"""A browser that missed more reads a page anew faster than ten pages of changes."""
_PAGE: Final = 100
"""Entries read for one event, so that a burst of writes keeps the loop for milliseconds."""
_BEAT_S: Final = 0.5
"""A state that changed without an entry is shown within it; a killed replica has 2 s."""
_SHOWN_MAX: Final = 100
"""An event stays small at 1,000 replicas; those in trouble come first."""
_FAILED_SHOWN: Final = 20
"""Models of one replica that it cannot load: an event stays small when a disk is lost."""
_TROUBLES_SHOWN: Final = 100
"""More than anybody reads before the first is mended."""
_CLIENTS: Final = Gauge("sie_config_feed_clients", "clients of the feed for browsers")


class Feed:
    """The events of one control plane, for all of its clients."""

    def __init__(
        self, plane: ControlPlane, *, beat_s: float = _BEAT_S, clients_max: int = _CLIENTS_MAX
    ) -> None:
        self._plane = plane
        self._beat_s = beat_s
        self._clients_max = clients_max
        self._clients: Counter[str] = Counter()
        self._made: asyncio.Task[bytes] | None = None
        self._made_at = float("-inf")

    def check_room(self, whose: str = "") -> None:
        """Raises `Later` where there are as many clients as may be, of the token of that name or
        in all."""
        if self._clients.total() >= self._clients_max:
            raise Later(
                f"{self._clients_max} clients follow the feed already", code="RESOURCE_EXHAUSTED"
            )
        if whose and self._clients[whose] >= _CLIENTS_OF_ONE_MAX:
            raise Later(
                f"{_CLIENTS_OF_ONE_MAX} clients of {whose} follow the feed already",
                code="RESOURCE_EXHAUSTED",
            )

    async def events(self, last_id: str, whose: str = "") -> AsyncGenerator[bytes, None]:
        """The events after the one that a client saw last, until it leaves or the process ends."""
        plane = self._plane
        self._count(whose, 1)
        try:
            log_id, after = plane.sequencer.position.log_id, plane.sequencer.position.epoch
            seen = _epoch_in(last_id, log_id) if last_id else after
            is_near = seen is not None and after - _MISSED_MAX <= seen <= after
            if is_near:
                after = seen or 0
            # A browser comes again with the newest id that it was given. The head's is of what the
            # client has: one that is cut off behind it has not seen the entries that follow.
            yield _event("head", head_body(plane), event_id=self._id(after) if is_near else "")
            if not is_near:
                yield _event("reset", {"epoch": after}, event_id=self._id(after))
            while not plane.stopping:
                head = plane.sequencer.position
                if head.log_id != log_id or head.epoch < after:
                    log_id, after = head.log_id, head.epoch
                    yield _event("reset", {"epoch": after}, event_id=self._id(after))
                for entry in await plane.journal.page(after, head.epoch, _PAGE):
                    yield _event("entry", timeline_row(entry), event_id=self._id(entry.epoch))
                    after = entry.epoch
                yield await self._replicas()
                if plane.sequencer.position.epoch == after and not plane.stopping:
                    await first_of(plane.sequencer.moved(), timeout_s=self._beat_s)
        finally:
            self._count(whose, -1)

    def _count(self, whose: str, more: int) -> None:
        self._clients[whose] += more
        if not self._clients[whose]:
            del self._clients[whose]
        _CLIENTS.set(self._clients.total())

    def _id(self, epoch: int) -> str:
        return f"{log_id8(self._plane.sequencer.position.log_id)}.{epoch}"

    async def _replicas(self) -> bytes:
        """The one that was made last, unless there is something new to tell."""
        now = self._plane.now()
        if self._made is None or (self._made.done() and now - self._made_at >= self._beat_s / 2):
            self._made, self._made_at = asyncio.create_task(self._make()), now
        # Whoever leaves must not take it from the others.
        return await asyncio.shield(self._made)

    async def _make(self) -> bytes:
        plane = self._plane
        view = await replicas_now(plane)
        rows = sorted(view["replicas"], key=_worst_first)
        head, published = head_body(plane), plane.broadcast.published_epoch
        troubles = worst_first(
            [
                *writer_troubles(head["writer"], head["epoch"], published, rows),
                *signal_troubles(plane.signals),
            ]
        )
        told = {
            "now": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "head": head,
            "published_epoch": published,
            "troubles": troubles[:_TROUBLES_SHOWN],
            "live": view["live"],
            "converged": view["converged"],
            "total": len(rows),
            "replicas": [_short(row) for row in rows[:_SHOWN_MAX]],
        }
        return _event("replicas", told)


def add_feed(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the route."""
    feed = Feed(plane)

    @app.get("/v1/configs/events")
    async def events(
        request: Request, last_event_id: Annotated[str, Header(max_length=64)] = ""
    ) -> Response:
        """Server-sent events: `head`, each `entry`, `replicas`, and `reset` after too long a gap.

        An entry's id is `<log_id8>.<epoch>`: `Last-Event-ID` resumes after it.
        """
        whose = principal_of(request.scope).name
        feed.check_room(whose)
        return StreamingResponse(
            feed.events(last_event_id, whose),
            media_type="text/event-stream",
            # nginx keeps an answer back until it has a buffer full: the events of a quiet log would
            # come in minutes.
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )


def _event(name: str, value: Any, *, event_id: str = "") -> bytes:
    told = f"id: {event_id}\n" if event_id else ""
    return f"{told}event: {name}\ndata: ".encode() + msgspec.json.encode(value) + b"\n\n"


def _epoch_in(event_id: str, log_id: str) -> int | None:
    """The epoch of an event's id; None for one of another log, or for none."""
    log, _, epoch = event_id.partition(".")
    is_ours = log == log_id8(log_id) and epoch.isascii() and epoch.isdigit() and len(epoch) < 17
    return int(epoch) if is_ours else None


def _worst_first(row: ReplicaRow) -> tuple[object, ...]:
    is_well = row["live"] and not row["gone"] and row["converged"]
    return (is_well, row["role"], row["id"])


def _short(row: ReplicaRow) -> dict[str, Any]:
    names = (
        "role", "id", "epoch", "state", "reason", "age_s", "live", "gone", "lag", "converged",
        "shares_name", "place",
    )  # fmt: skip
    failed = {
        name: told["reason"] for name, told in row["models"].items() if told["state"] == "failed"
    }
    loaded = sum(told["state"] == "loaded" for told in row["models"].values())
    shown = dict(sorted(failed.items())[:_FAILED_SHOWN])
    tone, word = replica_state(row)
    own = {"tone": tone, "word": word, "loaded": loaded, "failed": shown}
    said: Mapping[str, Any] = row
    return {name: said[name] for name in names} | own
