"""Named requests: the request id and the trace of every request that is no inference.

*shell*: an ASGI application around another. Promises that `X-Request-Id` and `traceparent` are
answered as they came. An id that holds a secret is none, for it would stand in log lines. A request
which changes something has an id of ours where it brought none, and a span where it is traced. A
span is named by its route, never by a path that somebody made up. A look which brought neither
costs nothing.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from starlette.routing import BaseRoute, Match, Route

from sie_runtime.access.gate import REQUEST_ID
from sie_runtime.http.bodies import Message, Receive, Scope, Send
from sie_runtime.http.direct_http import Headers, with_headers_through
from sie_runtime.process.tracing import begin_span, known_trace, name_task
from sie_runtime.texts.secret_shapes import secret_in

__all__ = ["NamedRequests", "echoed_id"]

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOKS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LENGTH_MAX: Final = 128
"""Longer than every common id (a UUID has 36), short enough for a log line."""


class NamedRequests:
    """Around one application, whose `routes` name the spans."""

    def __init__(self, app: Application, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        told, trace = headers.get(b"x-request-id"), known_trace(headers.get(b"traceparent"))
        changes = scope["method"] not in _LOOKS
        if not (changes or told or trace):
            await self._app(scope, receive, send)
            return
        named = echoed_id(told)
        if not named:
            named = scope[REQUEST_ID] = f"{random.getrandbits(64):016x}"
        span = begin_span(
            scope["method"],
            "server",
            parent=trace,
            may_begin=changes,
            attributes={
                "sie.request_id": named,
                "http.request.method": scope["method"],
                "url.path": scope["path"],
            },
        )
        if span is not None and (room := self._room_of(scope)):
            span.rename(f"{scope['method']} {room}")
        traceparent = span.traceparent if span is not None else trace
        name_task(named, traceparent)
        answer = _NamedAnswer(named, traceparent, send)
        try:
            await self._app(with_headers_through(scope, answer.named), receive, answer.send)
        finally:
            if span is not None:
                span.tell("http.response.status_code", answer.status)
                span.end("" if answer.status and answer.status < 500 else str(answer.status))

    def _room_of(self, scope: Scope) -> str:
        """The path of its route without the names in it; empty where no route has that path."""
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path.partition("/{")[0]
        return ""


class _NamedAnswer:
    """The answer of one request, which gets its headers here, whole or part by part."""

    def __init__(self, name: str, trace: str, send: Send) -> None:
        self._added = [(b"x-request-id", name.encode("latin-1"))]
        if trace:
            self._added.append((b"traceparent", trace.encode()))
        self._send = send
        self.status = 0

    def named(self, status: int, headers: Headers) -> Headers:
        """The headers of the answer, with those of ours."""
        self.status = status
        return [each for each in headers if each[0].lower() != b"x-request-id"] + self._added

    async def send(self, message: Message) -> None:
        """As ASGI's."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": self.named(message["status"], message["headers"])}
        await self._send(message)


def echoed_id(told: bytes | None) -> str:
    """The id that a request brought, as it is answered. Empty where it is none of 128 bytes, or
    where a token was pasted for one."""
    if not told or len(told) > _LENGTH_MAX or not told.strip():
        return ""
    text = told.decode("latin-1")
    return "" if secret_in(text) else text
