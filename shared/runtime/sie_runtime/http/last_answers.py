"""The answers that are given before there is a request, in the one shape of errors.

*pure.* An answer of this kind is the last of its connection.
"""

from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from sie_runtime.http.error_headers import error_headers
from sie_schemas.errors import SIEError

__all__ = ["refusal_bytes", "refusing"]


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


def _parts(error: SIEError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = msgspec.json.encode(error.to_wire())
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *error_headers(error),
    ]
    return headers, body
