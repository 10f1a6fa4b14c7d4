"""The status routes of a process that serves no other HTTP: `/healthz`, `/readyz`, `/metrics`.

*shell*: a plain ASGI application without a framework. `/healthz` answers while the loop turns;
`/readyz` answers 200 when the process would do work that came now, else 503 with what is missing.
Without TLS only `/healthz` answers to a name that a web page could point here. None of them reads a
body, and one with anything in it is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from sie_runtime.access.unread_bodies import check_no_body
from sie_runtime.access.web_pages import check_host
from sie_runtime.http.bodies import Application, Receive, Scope, Send
from sie_runtime.process.telemetry import metrics_text
from sie_schemas.errors import FixRequest

__all__ = ["ROUTES", "status_application"]

_JSON: Final = "application/json"
_ALIVE: Final = frozenset({"/healthz", "/health"})
ROUTES: Final = frozenset({*_ALIVE, "/readyz", "/metrics"})


class _Gone(Exception):
    """The client left before its body was here."""


def status_application(state: Callable[[], Mapping[str, Any]]) -> Application:
    """The application. `state` gives `ready` and whatever else explains it."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        told = dict(scope["headers"])
        try:
            if scope["scheme"] == "http" and scope["path"] not in _ALIVE:
                check_host(told.get(b"host", b""), (), cure="over TLS")
            await check_no_body(scope, receive, {}, gone=_Gone)
            accept = told.get(b"accept", b"").decode("latin-1")
            status, content_type, body = _answer(scope["path"], accept, state)
        except _Gone:
            return
        except FixRequest as error:
            status, content_type = error.status, _JSON
            body = msgspec.json.encode(error.to_wire())
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


def _answer(
    path: str, accept: str, state: Callable[[], Mapping[str, Any]]
) -> tuple[int, str, bytes]:
    """The status, media type and body. Raises `FixRequest` for another path."""
    match path:
        case _ if path in _ALIVE:
            return 200, _JSON, b'{"status":"ok"}'
        case "/readyz":
            found = state()
            return (200 if found["ready"] else 503), _JSON, msgspec.json.encode(found)
        case "/metrics":
            text, content_type = metrics_text(accept)
            return 200, content_type, text
        case _:
            raise FixRequest(f"there is no {path} here", code="NOT_FOUND")
