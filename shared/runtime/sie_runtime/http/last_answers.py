"""The answers that are given before there is a request, in the one shape of errors.

*shell* inside uvicorn, as `bounded_http` is. An answer of this kind is the last of its
connection. What comes after it is read, and dropped, so that its client hears the answer.
"""

from typing import Any, Protocol

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from sie_runtime.http.error_headers import error_headers
from sie_schemas.errors import SIEError

__all__ = ["Lingering", "last_cycle", "refusal_bytes", "refusing"]


def refusal_bytes(error: SIEError) -> bytes:
    """The whole answer."""
    headers, body = _parts(error)
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join((STATUS_LINE[error.status], *lines, b"connection: close\r\n\r\n", body))


def refusing(error: SIEError) -> Any:
    """An ASGI application that answers so."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        headers, body = _parts(error)
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


class _Connection(Protocol):
    """The connection of `BoundedHttp`, as far as its last answer needs it."""

    transport: Any
    cycle: RequestResponseCycle
    flow: Any
    logger: Any
    access_logger: Any
    server_state: Any

    def on_response_complete(self) -> None:
        """An answer is on its way."""
        ...

    def linger(self) -> None:
        """Close when the client has."""
        ...


class Lingering:
    """The transport for an answer that may come before the request is whole."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        """Linger in place of closing."""
        # Closed with bytes unread, the kernel sends a reset, and the client loses the answer.
        self._connection.linger()


def last_cycle(connection: _Connection) -> RequestResponseCycle:
    """The exchange of a refusal that comes after the answers to requests before it."""
    before = connection.cycle
    connection.cycle = RequestResponseCycle(
        scope={"type": "http", "method": "GET", "headers": [], "http_version": "1.1"},  # type: ignore[typeddict-item]
        transport=Lingering(connection),  # type: ignore[arg-type]
        flow=connection.flow,
        logger=connection.logger,
        access_logger=connection.access_logger,
        access_log=False,
        default_headers=connection.server_state.default_headers,
        message_event=before.message_event,
        expect_100_continue=False,
        keep_alive=False,
        on_response=connection.on_response_complete,
    )
    return connection.cycle


def _parts(error: SIEError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = msgspec.json.encode(error.to_wire())
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *error_headers(error),
    ]
    return headers, body
