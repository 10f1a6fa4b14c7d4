"""Write requests: what an HTTP request asks to write, read strictly and bounded.

*shell.* Reads the body; the rest is pure. Promises that a request which is refused here has changed
nothing, and that the refusal names the field or header at fault.
"""

import contextlib
import hashlib
import re
import secrets
from typing import Any, Final

from starlette.requests import Request

from sie_config.draft import Write
from sie_config.rules import Command, Expectation
from sie_schemas import canonical
from sie_schemas.entry import Idempotency
from sie_schemas.errors import FixRequest

__all__ = ["expectation_of", "parse_json", "read_body", "write_of"]

_ETAGS: Final = re.compile(r'\*|"[^"]*"(\s*,\s*"[^"]*")*')
_HEADERS: Final = {
    "x-sie-actor": ("X-SIE-Actor", 128),
    "x-sie-reason": ("X-SIE-Reason", 1000),
    "x-request-id": ("X-Request-Id", 128),
    "idempotency-key": ("Idempotency-Key", 255),
}


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The body, refused as soon as it is too long. Raises `FixRequest` PAYLOAD_TOO_LARGE."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > bytes_max:
        raise _too_large(bytes_max)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > bytes_max:
            raise _too_large(bytes_max)
        parts.append(part)
    return b"".join(parts)


def parse_json(body: bytes) -> Any:
    """The value of a body. Raises `FixRequest` INVALID_REQUEST for what is not strict JSON."""
    try:
        return canonical.loads(body)
    except canonical.NotCanonical as error:
        raise FixRequest(f"the body cannot be read: {error}", field="body") from error


def expectation_of(request: Request) -> Expectation:
    """What `If-Match` and `If-None-Match` expect. Raises `FixRequest`."""
    if_match = request.headers.get("if-match")
    if_none_match = request.headers.get("if-none-match")
    if if_none_match is not None and if_none_match.strip() != "*":
        raise FixRequest("a write takes If-None-Match: * only", field="If-None-Match")
    if if_match is None:
        return Expectation(absent=if_none_match is not None)
    if not _ETAGS.fullmatch(if_match.strip()):
        raise FixRequest('If-Match takes * or quoted ETags: "1a2b3c4d-17"', field="If-Match")
    etags = tuple(part.strip() for part in if_match.split(","))
    return Expectation(etags=etags, absent=if_none_match is not None)


def write_of(request: Request, body: bytes, commands: tuple[Command, ...]) -> Write:
    """The write that a request asks for. Raises `FixRequest` naming the header at fault."""
    actor = _header(request, "x-sie-actor") or "anonymous"
    key = _header(request, "idempotency-key")
    return Write(
        actor=actor,
        reason=_header(request, "x-sie-reason"),
        request_id=_header(request, "x-request-id") or secrets.token_hex(8),
        commands=commands,
        idempotency=Idempotency(key, _fingerprint(request, body)) if key else None,
    )


def _header(request: Request, name: str) -> str:
    text = request.headers.get(name, "").strip()
    if not text:
        return ""
    shown, length_max = _HEADERS[name]
    with contextlib.suppress(UnicodeError):
        # Clients send UTF-8; the framework reads headers as Latin-1.
        text = text.encode("latin-1").decode("utf-8")
    if len(text) > length_max or not text.isprintable():
        raise FixRequest(f"{shown} takes up to {length_max} printable characters", field=shown)
    return text


def _fingerprint(request: Request, body: bytes) -> str:
    digest = hashlib.sha256()
    for part in (request.method, request.url.path, request.url.query):
        digest.update(part.encode() + b"\0")
    digest.update(body)
    return digest.hexdigest()


def _too_large(bytes_max: int) -> FixRequest:
    return FixRequest(
        f"the body is longer than {bytes_max} bytes", code="PAYLOAD_TOO_LARGE", field="body"
    )
