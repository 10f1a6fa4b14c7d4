"""Named requests: the request id and the trace of every request that is no inference.

*shell*: an ASGI application around another. Promises that `X-Request-Id` and `traceparent` are
answered as they came. A request which changes something has an id of ours where it brought none,
and a span where it is traced. A look which brought neither costs nothing.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from sie_runtime.access.gate import REQUEST_ID
from sie_runtime.http.bodies import Message, Receive, Scope, Send
from sie_runtime.process.tracing import begin_span, known_trace

__all__ = ["NamedRequests", "echoed_id"]

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOKS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LENGTH_MAX: Final = 128


class NamedRequests:
    """Around one application."""

    def __init__(self, app: Application) -> None:
        self._app = app

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
            f"{scope['method']} {scope['path']}",
            "server",
            parent=trace,
            may_begin=changes,
            attributes={"sie.request_id": named, "http.request.method": scope["method"]},
        )
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                kept = [each for each in message["headers"] if each[0].lower() != b"x-request-id"]
                kept.append((b"x-request-id", named.encode("latin-1")))
                if span is not None or trace:
                    told_trace = span.traceparent if span is not None else trace
                    kept.append((b"traceparent", told_trace.encode()))
                message = {**message, "headers": kept}
            await send(message)

        try:
            # Answers go through here, and not at once.
            await self._app({**scope, "extensions": {}}, receive, send_named)
        finally:
            if span is not None:
                span.tell("http.response.status_code", status)
                span.end("" if status and status < 500 else str(status))


def echoed_id(told: bytes | None) -> str:
    """The id that a request brought, as it is answered; empty where it is none of 128 bytes."""
    if not told or len(told) > _LENGTH_MAX or not told.strip():
        return ""
    return told.decode("latin-1")
