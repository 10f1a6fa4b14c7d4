"""The newest entries first: the log as a timeline, to be paged through and filtered.

*shell.* `GET /v1/configs/entries`. Promises rows in the order of epochs, newest first. A reader who
follows `next_before` meets each matching entry once. The low water is no bound: it is all history.
"""

from typing import Annotated, Final

from fastapi import FastAPI, Query
from starlette.responses import Response

from sie_config.http.history_routes import AtText
from sie_config.http.json_answers import json_answer
from sie_config.past.audit import AuditQuery, accepted, timeline_row
from sie_config.writer.operations import Kind
from sie_config.writer_process import ControlPlane
from sie_schemas.api.past import EntryList

__all__ = ["add_entry_routes"]

_PAGE: Final = 50
"""Rows that fill a tall screen once."""
_PAGE_MAX: Final = 500
"""Rows that a browser lays out without a pause."""

Text = Annotated[str | None, Query(max_length=512)]


def add_entry_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the route; before `/entries/{epoch}` nothing of it is needed."""

    @app.get("/v1/configs/entries")
    async def entries(
        before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
        limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = _PAGE,
        actor: Text = None,
        kind: Kind | None = None,
        key: Text = None,
        at: AtText = "",
    ) -> Response:
        """Entries, newest first: who changed what, when and why.

        `before` is an epoch, `at` an epoch or a time up to which is looked. Of a row's changes the
        first are shown; `changed` counts them all.
        """
        head = plane.sequencer.position
        last = await plane.timeline.epoch_at(at) if at else head.epoch
        if before is not None:
            last = min(last, before - 1)
        query = AuditQuery(actor=actor, kind=kind, key=key, limit=limit)
        found = await accepted(query, plane.timeline, plane.lookup, first=1, last=last)
        more = len(found) > limit
        told: EntryList = {
            "log_id": head.log_id,
            "head": head.epoch,
            "entries": [timeline_row(entry) for entry in found[:limit]],
            "next_before": found[limit - 1].epoch if more else None,
        }
        return json_answer(told)
