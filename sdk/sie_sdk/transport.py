"""httpx as both clients use it: timeouts, limits, and its errors in our words.

*shell.* Promises that a response which did not come in time is never taken for one to ask again.
The work may be running, and asking again doubles it.
"""

from typing import Final

import httpx

from sie_schemas.errors import SIEError, TimeRanOut
from sie_sdk.errors import SIEConnectionError

__all__ = ["EXCHANGE_FAILURES", "connection_error", "limits_of", "timeout_of"]

EXCHANGE_FAILURES: Final = (httpx.HTTPError, OSError, AttributeError)
"""The exceptions that a failed exchange raises. A connection that is reset while it is made shows
as an AttributeError. Below httpx, anyio asks the socket for its peer, and it has none any more."""


def timeout_of(timeout_s: float, connect_timeout_s: float) -> httpx.Timeout:
    """`timeout_s` for a response, `connect_timeout_s` for a connection."""
    return httpx.Timeout(timeout_s, connect=connect_timeout_s, pool=timeout_s)


def limits_of(max_connections: int) -> httpx.Limits:
    """All connections are kept: a client talks to one address."""
    return httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)


def connection_error(error: Exception, base_url: str, *, was_reached: bool = False) -> SIEError:
    """The error that tells the caller of a failed exchange."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        late = TimeRanOut(f"{base_url} did not answer in time: {reason}")
        late.retry_after_s = None
        return late
    lost = SIEConnectionError(f"{base_url} cannot be reached: {reason}", retry_after_s=0.2)
    lost.was_reached = was_reached
    return lost
