"""The routes of dead letters: the jobs that failed for good, listed, run again and dropped.

*shell.* `GET /v1/dead-letters`, `POST /v1/dead-letters/retry`, `POST /v1/dead-letters/drop`.
Promises that no answer holds the contents of a request. A letter goes only after its job ran with
success, or because an admin said so. The log of the process tells who did it. A few are run again
at a time.
"""

import logging
from typing import Annotated, Final

from fastapi import FastAPI, Query
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from sie_config.documents.asked_process import while_wanted
from sie_config.documents.bodies import converted, parse_json
from sie_config.http.direct import DirectApp
from sie_config.http.doors import JSON_BODY, door
from sie_config.http.json_answers import json_answer
from sie_config.http.write_requests import read_body, shown_text
from sie_config.writer_process import ControlPlane
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.process.bounded_lines import EACH
from sie_runtime.streams.dead_letters import DeadLetters
from sie_runtime.streams.letter_runs import run_again, told_of
from sie_schemas.api.log import LetterList, LettersDropped, LetterShown
from sie_schemas.errors import Later

__all__ = ["LETTER_BODIES", "DropBody", "RetryBody", "add_letter_routes"]

_LOG: Final = logging.getLogger(__name__)
_PAGE: Final = 100
"""Rows that fill a screen several times: letters come in runs of one cause."""
_PAGE_MAX: Final = 500
"""As for entries: rows that a browser lays out without a pause."""
_BODY_BYTES_MAX: Final = 16_384
"""The numbers of 500 letters."""
_RUNS_MAX: Final = 4
"""Letters that are run again at a time: each may wait for a model to load."""

Number = Annotated[int, Meta(ge=1, le=2**53)]


class RetryBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The letter to run again, and how long that may take."""

    number: Number
    within_s: Annotated[float, Meta(ge=0.1, le=60.0)] = 60.0


class DropBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The letters to forget."""

    numbers: Annotated[tuple[Number, ...], Meta(min_length=1, max_length=_PAGE_MAX)]


LETTER_BODIES: Final[dict[str, tuple[type[Struct], str, bool]]] = {
    "/v1/dead-letters/retry": (
        RetryBody,
        "Run the job of a dead letter again; the letter is dropped when it succeeds.",
        False,
    ),
    "/v1/dead-letters/drop": (DropBody, "Forget dead letters.", False),
}
"""The body that each of these routes reads, in words, and whether the route writes the log."""


def add_letter_routes(app: DirectApp, plane: ControlPlane) -> None:
    """Mount the routes."""
    _add_list(app, plane)
    work = _LetterWork(plane)
    app.add_plain("POST", "/v1/dead-letters/retry", work.retry)
    app.add_plain("POST", "/v1/dead-letters/drop", work.drop)


def _add_list(app: FastAPI, plane: ControlPlane) -> None:
    @app.get("/v1/dead-letters")
    @door("audit")
    async def letters(
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = _PAGE,
    ) -> Response:
        """Jobs that failed for good, oldest first, without what their requests held."""
        found: list[LetterShown] = []
        async for each in _letters(_bus(plane)).read(after=after):
            if len(found) == limit:
                return _listed(found, found[-1]["number"])
            found.append(told_of(each))
        return _listed(found, None)


def _listed(letters: list[LetterShown], next_after: int | None) -> Response:
    told: LetterList = {"letters": letters, "next_after": next_after}
    return json_answer(told)


class _LetterWork:
    """The endpoints that take a body, around one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._running: set[int] = set()
        """The letters whose jobs run again now."""

    @door("admin", media=JSON_BODY)
    async def retry(self, request: Request) -> Response:
        """Run a job again; its letter is dropped when that succeeds."""
        body = converted(parse_json(await read_body(request, _BODY_BYTES_MAX)), RetryBody)
        bus = _bus(self._plane)
        if body.number in self._running:
            raise Later(
                f"dead letter {body.number} is being run again already", code="RESOURCE_EXHAUSTED"
            )
        if len(self._running) >= _RUNS_MAX:
            raise Later(
                f"{_RUNS_MAX} dead letters are being run again already; try again in a moment",
                code="RESOURCE_EXHAUSTED",
            )
        self._running.add(body.number)
        try:
            done = await while_wanted(
                run_again(bus, _letters(bus), body.number, within_s=body.within_s),
                self._plane.until_stopping(),
                what=f"the run of dead letter {body.number}",
            )
        finally:
            self._running.discard(body.number)
        _LOG.info("%s ran dead letter %d again", _actor(request), body.number, extra=EACH)
        return json_answer(done)

    @door("admin", media=JSON_BODY)
    async def drop(self, request: Request) -> Response:
        """Forget letters: each that is there. The error names those that were not."""
        body = converted(parse_json(await read_body(request, _BODY_BYTES_MAX)), DropBody)
        letters = _letters(_bus(self._plane))
        wanted = ", ".join(map(str, body.numbers))
        _LOG.info("%s asks to drop dead letters %s", _actor(request), wanted, extra=EACH)
        await letters.drop_all(body.numbers)
        told: LettersDropped = {"dropped": list(body.numbers)}
        return json_answer(told)


def _actor(request: Request) -> str:
    return shown_text(request, "x-sie-actor")[:128] or "anonymous"


def _letters(bus: Bus) -> DeadLetters:
    return DeadLetters(bus, direct=False)


def _bus(plane: ControlPlane) -> Bus:
    if plane.bus is None:
        raise BusUnavailable("dead letters are at the broker, and there is none")
    return plane.bus
