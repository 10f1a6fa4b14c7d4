"""httpx as both clients use it: timeouts, limits, its errors in our words, and spans.

*shell.* Promises that a response which did not come in time is never taken for one to ask again.
The work may be running, and asking again doubles it. OpenTelemetry's API is not imported here:
where the application has not imported it, nobody traces.
"""

import os
import re
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.request import getproxies

import httpx

from sie_schemas.errors import FixRequest, SIEError, TimeRanOut
from sie_sdk.errors import SIEConnectionError
from sie_sdk.wire.bounded_answers import UnfitAnswer

__all__ = [
    "ANSWER_BYTES_MAX",
    "EXCHANGE_FAILURES",
    "Tls",
    "connection_error",
    "edge_headers",
    "limits_of",
    "reason_of",
    "refuse_elsewhere",
    "timeout_of",
    "traced",
    "verify_of",
]

EXCHANGE_FAILURES: Final = (httpx.HTTPError, OSError, AttributeError)
"""The exceptions that a failed exchange raises. A connection that is reset while it is made shows
as an AttributeError. Below httpx, anyio asks the socket for its peer, and it has none any more."""

ANSWER_BYTES_MAX: Final = 2**30
"""Four times what a gateway holds of large results for all its clients together. A list of 1,024
texts of 512 tokens has 268 MB in vectors for each token."""
_TRACES: Final = "opentelemetry.trace"
_RESPONSE_S: Final = 150.0
"""Beyond the longest wait of a gateway for an answer, a model's load included."""
_CONNECT_S: Final = 10.0
"""A gateway that is there takes a connection within a round trip."""
_CONNECTIONS: Final = 100
"""A client that is shared by 100 threads has one for each."""
_HEADER: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OWN_HEADERS: Final = frozenset(
    {
        *("accept", "authorization", "connection", "content-length", "content-type", "cookie"),
        *("host", "idempotency-key", "keep-alive", "te", "trailer", "transfer-encoding"),
        *("upgrade", "x-sie-machine-profile", "x-sie-pool", "x-sie-sdk-version", "traceparent"),
    }
)


def timeout_of(
    timeout_s: float | None, connect_timeout_s: float | None, read_timeout_s: float | None = None
) -> httpx.Timeout:
    """`read_timeout_s`, else `timeout_s`, for a response; `connect_timeout_s` for a connection."""
    both = timeout_s if timeout_s is not None else _RESPONSE_S
    response_s = read_timeout_s if read_timeout_s is not None else both
    connect_s = connect_timeout_s if connect_timeout_s is not None else min(_CONNECT_S, both)
    return httpx.Timeout(response_s, connect=connect_s, pool=response_s)


def limits_of(max_connections: int | None, max_concurrency: int | None = None) -> httpx.Limits:
    """All connections are kept: a client talks to one address. A request has one for itself, so
    that so many are under way at once."""
    told = [each for each in (max_connections, max_concurrency) if each is not None]
    most = min(told, default=_CONNECTIONS)
    return httpx.Limits(max_connections=most, max_keepalive_connections=most)


def edge_headers(given: Mapping[str, str] | None, remote: str | None = None) -> dict[str, str]:
    """The headers that something before the gateway wants. Raises `ValueError`."""
    headers = dict(given or {})
    for name, value in headers.items():
        if _HEADER.fullmatch(name) is None or not value.isprintable():
            raise ValueError(f"base_url_headers: {name!r} and its value cannot be sent as a header")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"base_url_headers: {name!r} is the client's own")
    if remote not in (None, "forbid"):
        raise ValueError(f"remote is None or 'forbid', and not {remote!r}")
    return headers | ({"X-SIE-Remote": remote} if remote else {})


def refuse_elsewhere(**given: object) -> None:
    """Parameters of a service that is not here may be absent. Raises `ValueError`."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} is of a managed service, and a cluster has none: leave it out"
            )


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a client, PEM. What is absent is taken from SIE_CA_FILE, SIE_CLIENT_CERT_FILE
    and SIE_CLIENT_KEY_FILE.

    `ca_file` has the CAs that the server is trusted by, in place of the system's. `cert_file` with
    `key_file` is shown to a server that asks for a certificate.
    """

    ca_file: str | Path | None = None
    cert_file: str | Path | None = None
    key_file: str | Path | None = None


def verify_of(
    base_url: str, tls: Tls | None, environ: Mapping[str, str] = os.environ
) -> ssl.SSLContext | bool:
    """The `verify` of httpx: the files' certificates, else the system's. Raises `FixRequest`.

    Where nothing is encrypted there are none, as loading them takes a tenth of a second. A proxy
    that wants them is then refused, not believed.
    """
    told = tls if tls is not None else Tls()
    ca = told.ca_file or environ.get("SIE_CA_FILE")
    cert = told.cert_file or environ.get("SIE_CLIENT_CERT_FILE")
    key = told.key_file or environ.get("SIE_CLIENT_KEY_FILE")
    if bool(cert) != bool(key):
        raise FixRequest("a client certificate and its key come together: give both files")
    if not ca and not cert:
        addresses = (base_url, *getproxies().values())
        encrypted = any(address.startswith("https:") for address in addresses)
        if encrypted and not Path(system := environ.get("SSL_CERT_FILE") or "/").exists():
            raise FixRequest(f"SSL_CERT_FILE names {system}, which is not there")
        return True if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert and key:
            # A key with a password would have the library ask for it on the terminal.
            context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        given = " and ".join(str(each) for each in (ca, cert, key) if each)
        raise FixRequest(f"{given}: no certificates that can be used ({error})") from error
    return context


_TLS_WORDS: Final = (
    ("certificate has expired", "its certificate has expired: it needs a new one"),
    ("Hostname mismatch", "its certificate is of another name than this address"),
    ("IP address mismatch", "its certificate is of another name than this address"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is of no CA that is trusted here: give the CA in ca_file or SIE_CA_FILE",
    ),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS: its address begins with http://"),
    ("RECORD_LAYER_FAILURE", "it speaks no TLS: its address begins with http://"),
    (
        "ALERT_UNKNOWN_CA",
        "it trusts no CA of our certificate: see cert_file or SIE_CLIENT_CERT_FILE",
    ),
    ("ALERT_CERTIFICATE_EXPIRED", "our certificate has expired: see SIE_CLIENT_CERT_FILE"),
)


def reason_of(error: Exception, base_url: str, *, was_reached: bool = False) -> str:
    """The reason of a failed exchange, with the cure where TLS is the cause."""
    reason = str(error) or type(error).__name__
    for part, words in _TLS_WORDS:
        if part in reason:
            return words
    is_cut = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError)
    if is_cut and not was_reached and base_url.startswith("http://"):
        return (
            f"{reason}. If it speaks TLS, its address begins with https://; else see whether "
            "something else has that port"
        )
    if is_cut and not was_reached:
        # Under TLS 1.3 a client's certificate is judged after the handshake, by a cut.
        return (
            f"{reason}. If it asks for certificates, ours has expired or is of a CA that it does "
            "not trust: see SIE_CLIENT_CERT_FILE"
        )
    return reason


def connection_error(error: Exception, base_url: str, *, was_reached: bool = False) -> SIEError:
    """The error that tells the caller of a failed exchange."""
    reason = reason_of(error, base_url, was_reached=was_reached)
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout):
        late = TimeRanOut(f"{base_url} did not answer in time: {reason}")
        late.retry_after_s = None
        return late
    if isinstance(error, UnfitAnswer):
        return FixRequest(f"{base_url} does not answer as a cluster does ({reason}): correct it")
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
