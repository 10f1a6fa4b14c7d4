"""The HTTP surface of `sie-config`: routes, health, metrics, and one shape for every error.

*shell.* Promises that whatever goes wrong, in our code or in the framework's, is answered from the
one table of codes. An error that nobody foresaw is logged, and told without its inside.
"""

import functools
import logging
import time
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from sie_config.documents.inspections import Inspections
from sie_config.http.console.entry_routes import add_entry_routes
from sie_config.http.console.feed import add_feed
from sie_config.http.console.inspect_routes import add_inspect_route
from sie_config.http.console.letter_routes import add_letter_routes
from sie_config.http.console.queue_routes import add_queue_routes
from sie_config.http.direct import DirectApp
from sie_config.http.doors import door
from sie_config.http.follow_routes import add_follow_routes
from sie_config.http.group_routes import add_group_routes
from sie_config.http.history_routes import add_time_routes
from sie_config.http.json_answers import json_answer
from sie_config.http.openapi import openapi_document
from sie_config.http.read_routes import add_read_routes
from sie_config.http.refusal_notes import noting
from sie_config.http.upkeep_routes import add_compact_route, add_verify_route
from sie_config.http.write_routes import add_write_routes
from sie_config.writer.writer_state import Recovery, describe
from sie_config.writer_process import ControlPlane
from sie_runtime.access.openapi_page import PAGE_HEADERS, whole_page
from sie_runtime.http.error_headers import error_headers
from sie_runtime.http.near_paths import path_advice
from sie_runtime.process.telemetry import metrics_text
from sie_schemas.api.log import Ready
from sie_schemas.errors import FixRequest, OurFault, SIEError

__all__ = ["build_app"]

_LOG: Final = logging.getLogger(__name__)


def build_app(plane: ControlPlane, *, inspections: Inspections | None = None) -> DirectApp:
    """The application around one control plane."""
    app = DirectApp(
        title="sie-config",
        description="The one writer of the configuration log.",
        # The pages of the framework load scripts from elsewhere; ours are below.
        openapi_url=None,
        on_error=noting(plane, _on_error),
        on_defect=_on_defect,
        exception_handlers={
            RequestValidationError: noting(plane, _on_invalid),
            HTTPException: noting(plane, _on_refusal),
        },
    )
    add_write_routes(app, plane)
    add_follow_routes(app, plane)
    add_group_routes(app, plane)
    add_time_routes(app, plane)
    add_read_routes(app, plane)
    add_entry_routes(app, plane)
    add_feed(app, plane)
    add_letter_routes(app, plane)
    add_queue_routes(app, plane)
    add_inspect_route(app, inspections or Inspections(), plane)
    add_compact_route(app, plane)
    add_verify_route(app, plane)
    _add_health(app, plane)
    # Made once, and not now: the routes of the console are added after these.
    document = functools.cache(functools.partial(openapi_document, app))

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        """The OpenAPI document of these routes."""
        return json_answer(document())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """The same document as a page."""
        return Response(whole_page(document()), headers=dict(PAGE_HEADERS))

    return app


def _add_health(app: FastAPI, plane: ControlPlane) -> None:
    @app.get("/healthz")
    @door(None)
    async def healthz() -> dict[str, str]:
        """The process runs."""
        return {"status": "ok"}

    @app.get("/readyz")
    @door(None)
    async def readyz() -> Response:
        """503 while the log cannot be trusted. A full disk is ready: it passes."""
        state = plane.sequencer.state
        ready = not isinstance(state, Recovery) and not plane.stopping
        body: Ready = {
            "status": "ready" if ready else "not_ready",
            "broker": plane.bus.reach.why_not if plane.bus is not None else "",
            "writer": describe(state),
            "head": str(plane.sequencer.position),
            "published_epoch": plane.broadcast.published_epoch,
            "url": plane.settings.advertised_url,
            "timestamp": time.time(),
        }
        return json_answer(body, 200 if ready else 503)

    @app.get("/metrics")
    @door("metrics")
    async def metrics(request: Request) -> Response:
        """Prometheus text; OpenMetrics, with exemplars, where `Accept` asks for it."""
        text, content_type = metrics_text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SIEError)
    answer = json_answer(error.to_wire(), error.status)
    answer.raw_headers += error_headers(error)
    return answer


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        # Without the first part, `query` or `header`: a field is named as a client wrote it.
        {"path": ".".join(str(part) for part in item["loc"][1:]), "message": item["msg"]}
        for item in error.errors()
    ]
    first = problems[0]
    return await _on_error(
        request,
        FixRequest(
            f"{first['path']}: {first['message']}",
            code="VALIDATION_ERROR",
            field=first["path"],
            details=problems,
        ),
    )


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, method = request.url.path, request.method
    match error.status_code:
        case 404:
            told = f"there is no {path} here: {path_advice(path, _paths_of(request))}"
            refused = FixRequest(told, code="NOT_FOUND")
        case 405:
            refused = FixRequest(f"{path} takes no {method}", code="METHOD_NOT_ALLOWED")
        case _:
            refused = FixRequest(str(error.detail))
    answer = await _on_error(request, refused)
    answer.headers.update(error.headers or {})
    if error.status_code == 405:
        answer.headers["allow"] = ", ".join(_methods_at(request))
    return answer


def _paths_of(request: Request) -> set[str]:
    """Every path that has a route, but those of the console's own pages."""
    return {
        route.path_format
        for route in request.app.routes
        if isinstance(route, Route) and route.include_in_schema
    }


def _methods_at(request: Request) -> list[str]:
    """Every method that some route takes at this path; the router names the first route's only."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)


async def _on_defect(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return await _on_error(request, OurFault("an error that nobody foresaw; the log has it"))
