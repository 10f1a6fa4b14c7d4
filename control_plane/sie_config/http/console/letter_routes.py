"""The route of dead letters: the jobs that failed for good, listed.

*shell.* `GET /v1/dead-letters`. Promises that no answer holds the contents of a request. To run one
again or to drop it is an operator's work, at the broker: `sie dlq`.
"""

from typing import Annotated, Any, Final

from fastapi import FastAPI, Query
from starlette.responses import Response

from sie_config.http.doors import door
from sie_config.http.json_answers import json_answer
from sie_config.writer_process import ControlPlane
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.streams.dead_letters import DeadLetters
from sie_runtime.streams.letter_runs import told_of

__all__ = ["add_letter_routes"]

_PAGE: Final = 100
"""Rows that fill a screen several times: letters come in runs of one cause."""
_PAGE_MAX: Final = 500
"""As for entries: rows that a browser lays out without a pause."""


def add_letter_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the route."""

    @app.get("/v1/dead-letters")
    @door("audit")
    async def letters(
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = _PAGE,
    ) -> Response:
        """Jobs that failed for good, oldest first, without what their requests held."""
        found: list[dict[str, Any]] = []
        async for each in DeadLetters(_bus(plane)).look_through(after=after):
            if len(found) == limit:
                return json_answer({"letters": found, "next_after": found[-1]["number"]})
            found.append(told_of(each))
        return json_answer({"letters": found, "next_after": None})


def _bus(plane: ControlPlane) -> Bus:
    if plane.bus is None:
        raise BusUnavailable("dead letters are at the broker, and there is none")
    return plane.bus
