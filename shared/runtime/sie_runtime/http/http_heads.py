"""The head of a request over HTTP, as far as two readers could take it for two things.

*pure.* Promises that a head which passes has one length, one host and one bearer, whoever reads it.
Its path is text that may be repeated.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from sie_runtime.http.connections import HttpBounds
from sie_schemas.errors import FixRequest

__all__ = ["UNKNOWN", "Headers", "check_size", "declared_size", "without_offers"]

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in small letters."""

UNKNOWN: Final = -1
"""The length of a body that comes in chunks."""
_ONCE: Final = frozenset(
    (b"host", b"authorization", b"content-length", b"content-type", b"transfer-encoding", b"origin")
)
_OFFERS: Final = frozenset((b"upgrade", b"http2-settings"))


def check_size(url: bytes, headers: Headers, bounds: HttpBounds) -> None:
    """Judge what has come of a head. Raises `FixRequest` URL_TOO_LONG or HEADERS_TOO_LARGE."""
    if len(url) > bounds.http_url_bytes_max:
        raise FixRequest(
            f"path and query are longer than {bounds.http_url_bytes_max} bytes",
            code="URL_TOO_LONG",
        )
    if len(headers) > bounds.http_headers_max:
        raise FixRequest(
            f"there are more than {bounds.http_headers_max} headers", code="HEADERS_TOO_LARGE"
        )


def declared_size(method: bytes, url: bytes, headers: Headers, *, is_old: bool) -> int:
    """The length of the body that a whole head declares, or `UNKNOWN`; `is_old` is before HTTP/1.1.

    Raises `FixRequest`.
    """
    found = _found_once(headers)
    if b"host" not in found and not is_old:
        raise FixRequest("the header 'host' is missing, which HTTP/1.1 wants")
    if method == b"CONNECT":
        raise FixRequest("CONNECT is for proxies: this is none", code="METHOD_NOT_ALLOWED")
    if b"%" in url:
        _check_path(url)
    coding = found.get(b"transfer-encoding")
    if coding is None:
        length = found.get(b"content-length")
        return 0 if length is None else int(length)
    if is_old or coding.lower() != b"chunked":
        raise FixRequest("Transfer-Encoding takes `chunked` alone, and HTTP/1.1")
    return UNKNOWN


def _found_once(headers: Headers) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _ONCE:
            if name in found:
                raise FixRequest(f"the header {name.decode()!r} stands there twice: send it once")
            found[name] = value
    return found


def without_offers(method: bytes, url: bytes, version: bytes, headers: Headers) -> bytes:
    """The head of the same request, without its offer to speak another protocol."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, url, version)]
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            kept = b", ".join(token for token in tokens if token.lower() not in _OFFERS)
            lines.append(b"connection: %b\r\n" % kept)
        elif name not in _OFFERS:
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join((*lines, b"\r\n"))


def _check_path(url: bytes) -> None:
    try:
        path = unquote_to_bytes(url.partition(b"?")[0]).decode()
    except UnicodeDecodeError as error:
        raise FixRequest("the path is not UTF-8", field="path") from error
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise FixRequest("the path holds a control character, which no name has", field="path")
