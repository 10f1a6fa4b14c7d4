"""ASGI in the few words that the gateway needs: types, headers, bodies, responses.

*shell.* Promises that a body above its limit is refused before it is held in memory. Every error
leaves in the one shape, with its code and its time to retry in headers.
"""

import codecs
from importlib.metadata import version
from typing import Final, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct

from sie_gateway.request.waiting import ClientGone
from sie_runtime.http.bodies import Receive, Scope, Send, read_bounded
from sie_runtime.http.charsets import check_charset
from sie_runtime.http.direct_http import answer_at_once, body_at_once
from sie_runtime.http.encodings import decoded
from sie_runtime.http.error_headers import error_headers
from sie_schemas.errors import FixRequest, SIEError

__all__ = [
    "VERSION",
    "VERSION_HEADERS",
    "Headers",
    "Response",
    "error_response",
    "read_body",
    "send_response",
]

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Names in small letters, as ASGI wants them."""

VERSION: Final = version("sie-cluster")
VERSION_HEADERS: Final = (
    (b"x-sie-version", VERSION.encode()),
    (b"x-sie-server-version", b"0.10.1"),
)
"""The version of this cluster, and the release of the published clients whose surface it speaks.
They compare that one with their own, and warn where it is another minor."""

_JSON: Final = "application/json"
_FORMS: Final = (b"text/plain", b"multipart/form-data")
"""The media types that a web page sends a form as, and that no client of an API uses."""
_PAIRS: Final = b"application/x-www-form-urlencoded"
"""A form's too, and what `curl -d` calls each body that nothing else is said of."""
_JSON_BEGINS: Final = (b"{", b"[")
_PRINTABLE: Final = bytes(range(0x20, 0x7F))


class Response(Struct, frozen=True):
    """An answer as it leaves. `code` is the error's, for the metrics; empty where there is none."""

    status: int
    body: bytes
    headers: Headers
    content_type: str = _JSON
    code: str = ""


def error_response(
    error: SIEError, body: bytes | None = None, *, status: int | None = None
) -> Response:
    """An error in the one shape. Always JSON: it has to be readable where nothing else is.

    `body` and `status` are another API's of it; the headers stay ours.
    """
    headers = error_headers(error)
    if error.status == 405 and isinstance(error.details, dict):
        headers += [
            (name.encode(), _ascii(str(error.details[name])))
            for name in ("allow", "location")
            if name in error.details
        ]
    if body is None:
        body = msgspec.json.encode(error.to_wire())
    return Response(status or error.status, body, headers, code=error.code)


async def read_body(
    headers: dict[bytes, bytes], receive: Receive, *, bytes_max: int, scope: Scope | None = None
) -> bytes:
    """The whole body. With the `scope` it is taken at once where all of it has come.

    Raises `FixRequest` PAYLOAD_TOO_LARGE or UNSUPPORTED_MEDIA_TYPE, and `ClientGone`.
    """
    kind = headers.get(b"content-type", b"")
    # A page of any site may send a form without being asked; for JSON its browser asks first.
    if kind.lower().startswith(_FORMS):
        raise _no_form()
    check_charset(kind)
    body = body_at_once(scope) if scope is not None else None
    if body is None:
        told = headers.get(b"content-length")
        body = await read_bounded(receive, told, bytes_max, too_large=_too_large, gone=ClientGone)
    elif len(body) > bytes_max:
        raise _too_large(bytes_max)
    coding = headers.get(b"content-encoding")
    if coding is not None:
        body = decoded(coding, body, bytes_max, too_large=_too_large)
    if kind.lower().startswith(_PAIRS) and _is_form(body):
        raise _no_form()
    return body


async def send_response(scope: Scope, send: Send, response: Response) -> None:
    """Send a whole response."""
    body = response.body
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", b"%d" % len(body)),
        *response.headers,
    ]
    if not answer_at_once(scope, response.status, headers, body):
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _ascii(text: str) -> bytes:
    """The value of a header: what none may hold is written as a URL has it."""
    return quote(text, safe=_PRINTABLE).encode()


def _is_form(body: bytes) -> bool:
    """True for names and values as a form has them, false for JSON and for nothing at all."""
    begun = body.removeprefix(codecs.BOM_UTF8).lstrip()
    return bool(begun) and not begun.startswith(_JSON_BEGINS)


def _no_form() -> FixRequest:
    return FixRequest(
        "neither a form nor plain text is read: send JSON or MessagePack, and say so in "
        "`Content-Type`",
        code="UNSUPPORTED_MEDIA_TYPE",
        field="Content-Type",
    )


def _too_large(bytes_max: int) -> FixRequest:
    return FixRequest(
        f"the body is larger than {bytes_max} bytes: send the items in several requests",
        code="PAYLOAD_TOO_LARGE",
        field="$",
    )
