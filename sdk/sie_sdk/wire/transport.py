"""httpx as both clients use it: timeouts, limits, its errors in our words, and spans.

*shell.* Promises that a response which did not come in time is never taken for one to ask again.
The work may be running, and asking again doubles it. OpenTelemetry's API is not imported here:
where the application has not imported it, nobody traces.
"""

import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.request import getproxies

import httpx

from sie_schemas.errors import SIEError, TimeRanOut
from sie_sdk.errors import SIEConnectionError

__all__ = [
    "EXCHANGE_FAILURES",
    "connection_error",
    "limits_of",
    "timeout_of",
    "traced",
    "verify_of",
]

EXCHANGE_FAILURES: Final = (httpx.HTTPError, OSError, AttributeError)
"""The exceptions that a failed exchange raises. A connection that is reset while it is made shows
as an AttributeError. Below httpx, anyio asks the socket for its peer, and it has none any more."""

_TRACES: Final = "opentelemetry.trace"


def timeout_of(timeout_s: float, connect_timeout_s: float) -> httpx.Timeout:
    """`timeout_s` for a response, `connect_timeout_s` for a connection."""
    return httpx.Timeout(timeout_s, connect=connect_timeout_s, pool=timeout_s)


def limits_of(max_connections: int) -> httpx.Limits:
    """All connections are kept: a client talks to one address."""
    return httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)


def verify_of(base_url: str) -> ssl.SSLContext | bool:
    """The certificates that vouch for the other side; none where nothing is encrypted.

    Loading them takes a tenth of a second. A proxy that wants them is then refused, not believed.
    """
    if base_url.startswith("https:") or any(
        proxy.startswith("https:") for proxy in getproxies().values()
    ):
        return True
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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


@contextmanager
def traced(method: str, path: str, headers: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Around one request: its headers, with the trace that it belongs to. Its span is the parent of
    the cluster's own."""
    api = sys.modules.get(_TRACES)
    if api is None:
        yield headers
        return
    tracer = api.get_tracer("sie_sdk")
    kind = api.SpanKind.CLIENT
    with tracer.start_as_current_span(f"{method} {path}", kind=kind) as span:
        named = span.get_span_context()
        if not named.is_valid:
            yield headers
            return
        trace, flags = f"{named.trace_id:032x}", int(named.trace_flags)
        yield {**headers, "traceparent": f"00-{trace}-{named.span_id:016x}-{flags:02x}"}
