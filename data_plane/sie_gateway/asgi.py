"""ASGI in the few words that the gateway needs: types, headers, bodies, responses.

*shell.* Promises that a body above its limit is refused before it is held in memory, and that every
error leaves in the one shape, with its code and its time to retry in headers.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import msgspec

from sie_schemas.errors import FixRequest, SIEError

__all__ = [
    "ClientGone",
    "Receive",
    "Response",
    "Scope",
    "Send",
    "error_response",
    "read_body",
    "retry_headers",
    "send_response",
    "until_gone",
    "version_headers",
]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_VERSION: Final = version("sie-cluster")
_JSON: Final = "application/json"


class ClientGone(Exception):
    """The client closed the connection: nobody reads an answer any more."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it leaves. `code` is the error's, for the metrics; empty where there is none."""

    status: int
    body: bytes
    headers: dict[str, str]
    content_type: str = _JSON
    code: str = ""


def version_headers() -> dict[str, str]:
    """The version of this cluster, under the names that clients know."""
    return {"X-SIE-Version": _VERSION, "X-SIE-Server-Version": _VERSION}


def retry_headers(retry_after_s: float | None) -> dict[str, str]:
    """When to send again: whole seconds for every client, milliseconds for those that read them."""
    if retry_after_s is None:
        return {}
    return {
        "Retry-After": str(math.ceil(retry_after_s)),
        "Retry-After-Ms": f"{retry_after_s * 1000:.0f}",
    }


def error_response(error: SIEError, body: bytes | None = None) -> Response:
    """An error in the one shape. Always JSON: it has to be readable where nothing else is.

    `body` is another API's shape of it; the status and the headers stay ours.
    """
    headers = {"X-SIE-Error-Code": error.code, **retry_headers(error.retry_after_s)}
    if error.status == 405 and isinstance(error.details, dict):
        headers |= {
            name: str(error.details[key])
            for name, key in (("Allow", "allow"), ("Location", "location"))
            if key in error.details
        }
    if body is None:
        body = msgspec.json.encode(error.to_wire())
    return Response(error.status, body, headers, code=error.code)


async def read_body(headers: dict[bytes, bytes], receive: Receive, *, bytes_max: int) -> bytes:
    """The whole body. Raises `FixRequest` PAYLOAD_TOO_LARGE, `ClientGone`."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > bytes_max:
        raise _too_large(bytes_max)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            raise _too_large(bytes_max)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def until_gone(receive: Receive) -> None:
    """Wait for the client to leave. Raises `ClientGone`; returns never."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone


async def send_response(send: Send, response: Response) -> None:
    """Send a whole response."""
    headers: Iterable[tuple[str, str]] = (
        ("content-type", response.content_type),
        ("content-length", str(len(response.body))),
        *response.headers.items(),
    )
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": response.body})


def _too_large(bytes_max: int) -> FixRequest:
    return FixRequest(
        f"the body is larger than {bytes_max} bytes: send the items in several requests",
        code="PAYLOAD_TOO_LARGE",
        field="$",
    )
