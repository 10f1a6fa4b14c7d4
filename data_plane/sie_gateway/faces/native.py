"""The native form of a request: JSON or MessagePack in by `Content-Type`, out by `Accept`.

*pure.* The form that our own SDK speaks, and the only one in which 202 is an answer.
`cold_response` says that nothing was queued and what is awaited. The clock is an argument.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from sie_gateway.faces.face import Translated
from sie_gateway.fleet.routing import Cold
from sie_gateway.request.asgi import Response
from sie_gateway.request.requests import Limits, read_request
from sie_gateway.request.responses import Answer, render
from sie_runtime.http.error_headers import retry_headers
from sie_schemas.errors import Later
from sie_schemas.items import Operation

__all__ = ["cold_error", "cold_response", "read_native", "understands_202"]

_MSGPACK_TYPES: Final = frozenset(
    {b"application/msgpack", b"application/x-msgpack", b"application/vnd.msgpack"}
)
_JSON_TYPES: Final = frozenset({b"application/json", b"*/*", b"application/*"})
_QUALITY: Final = re.compile(rb";\s*[qQ]\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)")
_OWN_SDK: Final = b"sie-cluster/"


def read_native(
    operation: Operation,
    spec: str,
    body: bytes,
    headers: Mapping[bytes, bytes],
    limits: Limits,
    elapsed_ms: Callable[[], float],
) -> Translated:
    """Read a body. `elapsed_ms` tells, when the answer is rendered, what the request took."""
    asked = read_request(
        operation,
        body,
        is_msgpack=_is_msgpack(headers.get(b"content-type", b"")),
        limits=limits,
    )
    as_msgpack = _wants_msgpack(headers.get(b"accept"))

    def rendered(answer: Answer) -> bytes:
        return render(answer, total_ms=elapsed_ms(), as_msgpack=as_msgpack)

    content_type = "application/x-msgpack" if as_msgpack else "application/json"
    return Translated(spec, asked, rendered, content_type)


def understands_202(headers: Mapping[bytes, bytes]) -> bool:
    """Our own SDK and plain clients do; other SDKs take a 202 for an answer."""
    sdk = headers.get(b"x-sie-sdk-version")
    return sdk is None or sdk.startswith(_OWN_SDK)


def cold_response(cold: Cold, *, retry_after_s: float) -> Response:
    """202: nothing was queued."""
    body = {"status": "provisioning", **_place(cold), "retry_after_s": retry_after_s}
    return Response(
        202,
        msgspec.json.encode(body | {"message": _message(cold, retry_after_s)}),
        [*cold.route.headers, *retry_headers(retry_after_s)],
        code="PROVISIONING",
    )


def cold_error(cold: Cold, *, retry_after_s: float) -> Later:
    """The same for those who would take a 202 for an answer."""
    return Later(
        _message(cold, retry_after_s),
        code="PROVISIONING",
        retry_after_s=retry_after_s,
        details=_place(cold),
    )


def _message(cold: Cold, retry_after_s: float) -> str:
    route = cold.route
    return (
        f"no worker is ready in pool {route.pool!r} on {route.machine_profile!r} with bundle "
        f"{route.bundle!r}; the demand is recorded and nothing was queued: send the request "
        f"again in {retry_after_s:g} s{_how_to_start(route.bundle)}"
    )


def _how_to_start(bundle: str) -> str:
    """The way to workers that a cluster has only where somebody asked for them."""
    if bundle == "default":
        return ""
    return (
        f"; on one machine `sie up --bundle {bundle}` starts workers of that bundle, on Kubernetes "
        "a kind of `workers` in the chart's values"
    )


def _place(cold: Cold) -> dict[str, str]:
    route = cold.route
    return {
        "pool": route.pool,
        "machine_profile": route.machine_profile,
        "bundle": route.bundle,
        "model": route.model_name,
    }


def _wants_msgpack(accept: bytes | None) -> bool:
    """True if MessagePack is liked better than JSON, or as well and named before it."""
    if accept is None:
        return False
    # Without being taken apart: it is what our SDK sends.
    if accept in _MSGPACK_TYPES:
        return True
    liked: dict[bool, float] = {}
    # What is said of a type by its name goes before what a pattern says of many (RFC 9110, 12.5.1).
    for part in sorted(accept.split(b","), key=lambda part: b"*" in part):
        is_msgpack = _is_msgpack(part)
        if is_msgpack or _media_type(part) in _JSON_TYPES:
            liked.setdefault(is_msgpack, _quality(part))
    first = next(iter(liked), False)
    msgpack, json = liked.get(True, 0.0), liked.get(False, 0.0)
    return msgpack > json or (msgpack == json > 0 and first)


def _quality(part: bytes) -> float:
    """The weight of a type, between 0 and 1; 1 where none can be read."""
    found = _QUALITY.search(part)
    return float(found.group(1)) if found is not None else 1.0


def _is_msgpack(value: bytes) -> bool:
    # As it stands first: it is what our SDK sends.
    return value in _MSGPACK_TYPES or _media_type(value) in _MSGPACK_TYPES


def _media_type(value: bytes) -> bytes:
    return value.partition(b";")[0].strip().lower()
