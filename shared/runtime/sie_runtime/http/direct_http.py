"""A whole answer over HTTP in one write, and a whole body in one read.

*shell* inside uvicorn. An answer that is sent as ASGI has it costs two messages, two patterns tried
on each header, and two writes. That is a third of what the server needs for a request. An
application that has all of an answer gives it to `answer_at_once` instead. One that wants all of a
body asks `body_at_once` first: most bodies are there when the application begins. Reading requests,
keeping connections alive, pipelining and closing stay the library's own. It reaches into the
library's exchange, whose version is bounded for that reason. A test on a real socket holds both
ways to the same bytes.
"""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
)

__all__ = [
    "DirectHttp",
    "Headers",
    "answer_at_once",
    "body_at_once",
    "cut_off",
    "with_headers_through",
]

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Scope: TypeAlias = MutableMapping[str, Any]

_EXTENSION: Final = "sie.at_once"
_THROUGH: Final = "sie.at_once.headers"


class DirectHttp(HttpToolsProtocol):
    """uvicorn's protocol, which tells an application that it may answer at once."""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        cycle.scope["extensions"] = {_EXTENSION: cycle}
        super()._start_asgi_task(cycle, app)


def with_headers_through(scope: Scope, change: Callable[[int, Headers], Headers]) -> dict[str, Any]:
    """The request as an application gets it from one that changes the headers of answers.

    `change` is given status and headers of what is answered at once. What is sent as ASGI is for
    the caller's own `send`.
    """
    return {**scope, "extensions": {**scope.get("extensions", {}), _THROUGH: change}}


def body_at_once(scope: Scope) -> bytes | None:
    """The body, where all of it has come; None where it has to be read the usual way.

    Asked before anything was read. Who reads on hears when the client leaves, as ever.
    """
    cycle = scope.get("extensions", {}).get(_EXTENSION)
    if (
        cycle is None
        or cycle.more_body
        or cycle.disconnected
        or cycle.response_complete
        or cycle.waiting_for_100_continue
    ):
        return None
    body = bytes(cycle.body)
    cycle.body = bytearray()
    cycle.message_event.clear()
    cycle.flow.resume_reading()
    return body


def answer_at_once(scope: Scope, status: int, headers: Headers, body: bytes) -> bool:
    """Send a whole answer; False where nothing was sent and it has to go the usual way.

    Names of headers are in small letters, without `connection` and `transfer-encoding`, and
    `content-length` is among them.
    """
    extensions = scope.get("extensions", {})
    cycle = extensions.get(_EXTENSION)
    # The library waits for a slow reader, and leaves out the body of an answer to HEAD.
    if cycle is None or cycle.flow.write_paused or scope["method"] == "HEAD":
        return False
    if cycle.disconnected:
        return True
    if (change := extensions.get(_THROUGH)) is not None:
        headers = change(status, headers)
    lines = [b"%b: %b\r\n" % header for header in headers]
    if not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        # A header that would end before its end: the library refuses it.
        return False
    # The exchange holds the scope: together they would be garbage that only a collection finds.
    del extensions[_EXTENSION]
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join((STATUS_LINE[status], head, b"\r\n", body)))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def cut_off(scope: Scope) -> None:
    """End an answer that has begun in parts before its end; nothing where none is under way.

    Its reader meets a connection that breaks. The library takes it for a client that left, and not
    for a defect of the application.
    """
    cycle = scope.get("extensions", {}).get(_EXTENSION)
    if cycle is None or cycle.disconnected or cycle.response_complete:
        return
    cycle.disconnected = True
    cycle.message_event.set()
    cycle.transport.close()
