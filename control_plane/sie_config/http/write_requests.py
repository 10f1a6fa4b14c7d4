"""Write requests: what an HTTP request asks to write, read strictly and bounded.

*shell.* Reads the body; the rest is pure. Promises that a request which is refused here has changed
nothing, and that the refusal names the field or header at fault.
"""

import contextlib
import hashlib
import random
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from sie_config.documents.bodies import parse_json
from sie_config.writer.draft import Write
from sie_config.writer.rules import Expectation
from sie_runtime.access.gate import REQUEST_ID
from sie_runtime.http.bodies import read_bounded
from sie_runtime.http.encodings import decoded
from sie_runtime.process.aside import Aside
from sie_runtime.texts.secret_shapes import secret_in, without_secrets
from sie_schemas.entry import Idempotency, log_id8
from sie_schemas.errors import FixRequest, without_password

__all__ = [
    "expectation",
    "expectation_of",
    "flag",
    "header_text",
    "idempotency_of",
    "json_of",
    "read_body",
    "request_id_of",
    "sent",
    "shown_text",
    "write_of",
]

_ETAGS: Final = re.compile(r'\*|"[^"]*"(\s*,\s*"[^"]*")*')
_EPOCH: Final = re.compile(r"(?:(?P<log>[0-9a-f]{8})\.)?(?P<epoch>[0-9]{1,15})")
_AT_ONCE_BYTES: Final = 256 * 1024
"""At the worst, of names alone, they are read in 30 ms; a usual document has a few kilobytes."""
_HEADERS: Final = {
    "x-sie-actor": ("X-SIE-Actor", 128),
    "x-sie-reason": ("X-SIE-Reason", 1000),
    "x-sie-force": ("X-SIE-Force", 1000),
    "x-request-id": ("X-Request-Id", 128),
    "idempotency-key": ("Idempotency-Key", 255),
}


def _digest(key: str) -> str:
    return f"sha256-{hashlib.sha256(key.encode()).hexdigest()}"


def _nothing(text: str) -> str:
    return ""


_IN_PLACE: Final[Mapping[str, Callable[[str], str]]] = {
    "x-request-id": _nothing,
    # Two keys that are not the same must stay two.
    "idempotency-key": _digest,
}
"""The name that stands for one which holds a secret. An id of ours is made where there is none.
The other headers are texts of people, and a word stands in the secret's place."""


async def read_body(request: Request, bytes_max: int) -> bytes:
    """The body, refused as soon as it is too long. Raises `FixRequest` PAYLOAD_TOO_LARGE."""
    told = (sent(request, b"content-length") or "").encode("latin-1")
    body = await read_bounded(
        request.receive, told, bytes_max, too_large=_too_large, gone=ClientDisconnect
    )
    coding = (sent(request, b"content-encoding") or "").encode("latin-1")
    return decoded(coding, body, bytes_max, too_large=_too_large)


async def json_of(aside: Aside, body: bytes) -> Any:
    """The value of a body of JSON, read beside the loop where it is long. Raises `FixRequest`."""
    return parse_json(body) if len(body) <= _AT_ONCE_BYTES else await aside.run(parse_json, body)


def expectation_of(request: Request) -> Expectation:
    """The expectation in `If-Match` and `If-None-Match`. Raises `FixRequest`."""
    return expectation(sent(request, b"if-match"), sent(request, b"if-none-match"))


def expectation(if_match: str | None, if_none_match: str | None) -> Expectation:
    """The same, from the texts."""
    if if_none_match is not None and if_none_match.strip() != "*":
        raise FixRequest("a write takes If-None-Match: * only", field="If-None-Match")
    if if_match is None:
        return Expectation(absent=if_none_match is not None)
    if not _ETAGS.fullmatch(if_match.strip()):
        raise FixRequest('If-Match takes * or quoted ETags: "1a2b3c4d-17"', field="If-Match")
    etags = tuple(part.strip() for part in if_match.split(","))
    return Expectation(etags=etags, absent=if_none_match is not None)


def write_of(request: Request, body: bytes, log_id: str) -> Write:
    """The write that a request asks for, still without its commands.

    Raises `FixRequest` naming the header or parameter at fault.
    """
    idempotency = idempotency_of(request, body)
    return Write(
        actor=header_text(request, "x-sie-actor") or "anonymous",
        reason=header_text(request, "x-sie-reason"),
        request_id=header_text(request, "x-request-id") or _made_id(request),
        commands=(),
        idempotency=idempotency,
        if_epoch=_expected_epoch(request, log_id),
        forced=header_text(request, "x-sie-force"),
        dry_run=flag(request, "dry_run"),
    )


def idempotency_of(request: Request, body: bytes) -> Idempotency | None:
    """The key of a request, with the fingerprint of what it asks for."""
    key = header_text(request, "idempotency-key")
    return Idempotency(key, _fingerprint(request, body)) if key else None


def flag(request: Request, name: str) -> bool:
    """A query parameter that is true or false. Raises `FixRequest`."""
    if not request.scope["query_string"]:
        return False
    text = request.query_params.get(name, "false")
    if text not in {"true", "false"}:
        raise FixRequest(f"{name} is `true` or `false`, not {text!r}", field=name)
    return text == "true"


def _expected_epoch(request: Request, log_id: str) -> int | None:
    text = sent(request, b"if-match-epoch")
    if text is None:
        return None
    found = _EPOCH.fullmatch(text.strip())
    if found is None:
        raise FixRequest(
            "If-Match-Epoch takes an epoch, `17` or `1a2b3c4d.17`", field="If-Match-Epoch"
        )
    if found["log"] is not None and found["log"] != log_id8(log_id):
        raise FixRequest(
            f"this is log {log_id8(log_id)}, not {found['log']} as If-Match-Epoch expects",
            code="PRECONDITION_FAILED",
            field="If-Match-Epoch",
            details={"log_id": log_id},
        )
    return int(found["epoch"])


def sent(request: Request, name: bytes) -> str | None:
    """A header by its name in small letters, the first of several; None when absent.

    Several times as fast as the framework's view of them, and a write looks for a dozen.
    """
    for key, value in request.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def header_text(request: Request, name: str) -> str:
    """A bounded, printable header; empty when absent. Raises `FixRequest`."""
    text = shown_text(request, name)
    if not text:
        return ""
    shown, length_max = _HEADERS[name]
    if len(text) > length_max or not text.isprintable():
        raise FixRequest(f"{shown} takes up to {length_max} printable characters", field=shown)
    return text


def shown_text(request: Request, name: str) -> str:
    """A header as it was meant, unbounded; empty when absent. It stays in the log, so no address in
    it has a password, and it holds no other secret."""
    told = sent(request, name.encode())
    if not told:
        # As most are, and a write looks for five.
        return ""
    text = told.strip()
    if not text.isascii():
        with contextlib.suppress(UnicodeError):
            # Clients send UTF-8; the framework reads headers as Latin-1.
            text = text.encode("latin-1").decode("utf-8")
    text = without_password(text)
    if not secret_in(text):
        return text
    return _IN_PLACE.get(name, without_secrets)(text)


def request_id_of(request: Request) -> str:
    """The name of a request: what it says of itself, else one of ours, the same all along."""
    return shown_text(request, "x-request-id") or _made_id(request)


def _made_id(request: Request) -> str:
    made: str | None = request.scope.get(REQUEST_ID)
    if made is None:
        made = request.scope[REQUEST_ID] = f"{random.getrandbits(64):016x}"
    return made


def _fingerprint(request: Request, body: bytes) -> str:
    digest = hashlib.sha256()
    # An address made of them would end its path at a `?` or `#` that was percent-encoded.
    scope = request.scope
    for part in (scope["method"].encode(), scope["path"].encode(), scope["query_string"]):
        digest.update(part + b"\0")
    digest.update(body)
    return digest.hexdigest()


def _too_large(bytes_max: int) -> FixRequest:
    return FixRequest(
        f"the body is longer than {bytes_max} bytes", code="PAYLOAD_TOO_LARGE", field="body"
    )
