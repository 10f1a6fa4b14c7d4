"""Bodies of requests that come compressed.

*pure.* Promises that a body is never longer than its bound, however little of it came: it is taken
apart only that far. A coding that is not read is refused by name.
"""

import zlib
from collections.abc import Callable
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["decoded"]

_GZIP: Final = 16 + zlib.MAX_WBITS
"""zlib's way to say gzip's header."""
_PLAIN: Final = frozenset((b"", b"identity"))
_GZIPS: Final = frozenset((b"gzip", b"x-gzip"))


def decoded(
    coding: bytes, body: bytes, bytes_max: int, *, too_large: Callable[[int], Exception]
) -> bytes:
    """The body behind the header Content-Encoding.

    Raises `FixRequest` UNSUPPORTED_MEDIA_TYPE and INVALID_REQUEST, and what `too_large` makes of
    the bound.
    """
    name = coding.strip().lower()
    if name in _PLAIN:
        return body
    if name in _GZIPS:
        return _inflated(body, _GZIP, bytes_max, too_large)
    if name == b"deflate":
        # The name means zlib's form, and some clients send what is inside it alone.
        is_zlib = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
        return _inflated(body, zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS, bytes_max, too_large)
    raise FixRequest(
        f"a body in the coding {name.decode('latin-1')[:40]!r} is not read: send it plain, or as "
        "gzip or deflate",
        code="UNSUPPORTED_MEDIA_TYPE",
        field="Content-Encoding",
    )


def _inflated(
    body: bytes, window: int, bytes_max: int, too_large: Callable[[int], Exception]
) -> bytes:
    parts: list[bytes] = []
    size = 0
    # A stream of gzip may have several members.
    while body:
        stream = zlib.decompressobj(window)
        try:
            part = stream.decompress(body, bytes_max - size + 1)
        except zlib.error as error:
            raise _malformed(str(error)) from error
        size += len(part)
        if size > bytes_max:
            raise too_large(bytes_max)
        if not stream.eof:
            raise _malformed("it breaks off")
        parts.append(part)
        body = stream.unused_data
        if body and window != _GZIP:
            raise _malformed("something follows its end")
    return b"".join(parts)


def _malformed(why: str) -> FixRequest:
    return FixRequest(
        f"the body is not in the coding that it names: {why}", field="Content-Encoding"
    )
