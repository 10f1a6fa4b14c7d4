"""Web pages of elsewhere that may use a process: what their browser asks, and what it is told.

*pure.* Promises that only a page which is named is told anything: a browser gives no other page an
answer.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

__all__ = ["is_preflight", "page_headers", "preflight_headers"]

Headers: TypeAlias = list[tuple[bytes, bytes]]

_METHOD: Final = b"access-control-request-method"
_WANTED: Final = b"access-control-request-headers"
_MAX_AGE_S: Final = b"600"
_TOLD: Final = b"retry-after, retry-after-ms, etag, location, " + b", ".join(
    b"x-sie-" + name
    for name in (
        b"request-id",
        b"error-code",
        b"config-epoch",
        b"model-revision",
        b"adapter-revision",
        b"worker",
    )
)
"""Of our own headers those that a page may read."""


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """True if a browser asks whether its page may ask. Such a question has no token."""
    return method == "OPTIONS" and b"origin" in headers and _METHOD in headers


def preflight_headers(headers: Mapping[bytes, bytes]) -> Headers:
    """The answer for a page that may: what it is for is up to its token."""
    found = [
        (b"access-control-allow-origin", headers[b"origin"]),
        (b"access-control-allow-methods", headers[_METHOD]),
        (b"access-control-max-age", _MAX_AGE_S),
        (b"vary", b"Origin"),
        (b"content-length", b"0"),
    ]
    if _WANTED in headers:
        found.append((b"access-control-allow-headers", headers[_WANTED]))
    return found


def page_headers(origin: bytes) -> Headers:
    """The headers that let the page of this origin read an answer."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _TOLD),
        (b"vary", b"Origin"),
    ]
