"""The headers of an error's answer: its code, and when to send again.

*pure.* The same from every process, so that one client understands them all. Whole seconds are
rounded up: a client that reads no milliseconds is never told to come before its time.
"""

import math

from sie_schemas.errors import SIEError

__all__ = ["error_headers", "retry_headers"]


def retry_headers(retry_after_s: float | None) -> list[tuple[bytes, bytes]]:
    """The headers that say when to send again: whole seconds for every client, milliseconds for
    those that read them."""
    if retry_after_s is None:
        return []
    # A 0 would be read as: at once.
    return [
        (b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))),
        (b"retry-after-ms", b"%.0f" % (retry_after_s * 1000)),
    ]


def error_headers(error: SIEError) -> list[tuple[bytes, bytes]]:
    """The headers of every answer with an error."""
    return [(b"x-sie-error-code", error.code.encode()), *retry_headers(error.retry_after_s)]
