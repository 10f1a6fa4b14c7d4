"""TLS: certificates and keys from files, for what a process listens on and what it connects to.

*shell.* Promises:

- A file that changes is in use within a second, for every connection that is made from then on. No
  process is started again for it, and connections that are open stay.
- Files that cannot be used never replace those that can: the last good ones stay, loudly. At the
  start they stop the process with one line.
- One certificate is a role's name: it is shown to whoever connects, and to whom the role connects.
"""

import contextlib
import functools
import logging
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from prometheus_client import Gauge

from sie_runtime.settings import setting
from sie_schemas.errors import FixRequest

__all__ = [
    "ListeningTls",
    "TlsSettings",
    "check_tls",
    "client_tls",
    "connecting_context",
    "listening_context",
    "tls_words",
]

_LOG: Final = logging.getLogger(__name__)
_LOOK_S: Final = 1.0
"""A renewed certificate is in use within it; a look is one stat of each file."""
_SOON_S: Final = 14 * 86_400.0
"""Issuers renew a third of a lifetime ahead: two weeks mean that nobody did."""
_EXPIRES: Final = Gauge(
    "sie_http_certificate_expires_timestamp_seconds",
    "Unix time at which the certificate of this process ends; absent without TLS.",
    ["file"],
)


@dataclass(frozen=True, kw_only=True)
class ListeningTls:
    """The files by which a process speaks TLS where it listens."""

    tls_cert_file: Path | None = setting(
        None,
        help="certificate and its chain, PEM: the process then speaks HTTPS alone. It is shown as "
        "the client's own too, where this process connects",
    )
    tls_key_file: Path | None = setting(None, help="its private key, PEM, without a password")
    tls_client_ca_file: Path | None = setting(
        None,
        help="certificates of the CAs whose clients may connect, PEM: whoever shows none may ask "
        "for /healthz and /readyz alone. Absent, no certificate is asked for",
    )


@dataclass(frozen=True, kw_only=True)
class TlsSettings(ListeningTls):
    """The same of a process that connects to others, the broker among them."""

    tls_ca_file: Path | None = setting(
        None,
        help="certificates of the CAs that sie-config, gateways and the broker are trusted by, "
        "PEM; absent, those of the system",
    )


def client_tls(environ: Mapping[str, str] = os.environ) -> TlsSettings:
    """The files of a command, by the variables that the SDK reads too."""

    def file(variable: str) -> Path | None:
        told = environ.get(variable)
        return Path(told) if told else None

    return TlsSettings(
        tls_ca_file=file("SIE_CA_FILE"),
        tls_cert_file=file("SIE_CLIENT_CERT_FILE"),
        tls_key_file=file("SIE_CLIENT_KEY_FILE"),
    )


def check_tls(settings: ListeningTls) -> None:
    """For a `main`: files that cannot be used are printed as one line, and exit with 2."""
    try:
        listening_context(settings)
        if isinstance(settings, TlsSettings):
            connecting_context(settings)
    except FixRequest as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise SystemExit(2) from error
    # The log is not there yet: it is told again where it is.
    _warn.cache_clear()


def listening_context(settings: ListeningTls, *, look_s: float = _LOOK_S) -> ssl.SSLContext | None:
    """The context of a listener; None where it speaks plain HTTP. Raises `FixRequest`.

    Its files are looked at with a connection, at most once in `look_s` seconds.
    """
    cert, key, ca = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    _check_pair(cert, key)
    if cert is None or key is None:
        if ca is not None:
            raise FixRequest("tls_client_ca_file asks for certificates: give tls_cert_file too")
        return None
    own, own_key = cert, key

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        _load_own(context, own, own_key)
        if ca is not None:
            # A probe has no certificate: whoever has none is refused by path, and told why.
            context.verify_mode = ssl.CERT_OPTIONAL
            _load_trusted(context, ca)
        return context

    return _Rotating(ssl.PROTOCOL_TLS_SERVER, make, (own, own_key, ca), look_s)


def connecting_context(settings: TlsSettings, *, look_s: float = _LOOK_S) -> ssl.SSLContext | None:
    """The context of connections; None where nothing is given, so that the system's CAs count.

    `look_s` as of a listener. Raises `FixRequest`.
    """
    cert, key, ca = settings.tls_cert_file, settings.tls_key_file, settings.tls_ca_file
    _check_pair(cert, key)
    if ca is None and cert is None:
        return None

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context() if ca is None else _trusting(ca)
        if cert is not None and key is not None:
            _load_own(context, cert, key)
        return context

    return _Rotating(ssl.PROTOCOL_TLS_CLIENT, make, (cert, key, ca), look_s)


class _Rotating(ssl.SSLContext):
    """Makes each connection by the files as they are then. Libraries take it for a plain one."""

    def __new__(cls, protocol: int, *_: Any) -> "_Rotating":
        return super().__new__(cls, protocol)

    def __init__(
        self,
        _protocol: int,
        make: Callable[[], ssl.SSLContext],
        files: Iterable[Path | None],
        look_s: float,
    ) -> None:
        """Raises `FixRequest` for files that cannot be used."""
        self._make = make
        self._look_s = look_s
        self._files = tuple(file for file in files if file is not None)
        self._alpn: list[str] = []
        self._seen = self._identities()
        self._current = make()
        # Whoever asks this one is told of those that it makes.
        self.check_hostname = self._current.check_hostname
        self.verify_mode = self._current.verify_mode
        self._looked_at = time.monotonic()

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        """One connection of an event loop."""
        return self._now().wrap_bio(*given, **named)

    def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:
        """One connection of a thread."""
        return self._now().wrap_socket(*given, **named)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """Protocols to offer, also by contexts that are made later."""
        self._alpn = list(alpn_protocols)
        self._current.set_alpn_protocols(self._alpn)

    def _now(self) -> ssl.SSLContext:
        now = time.monotonic()
        if now - self._looked_at >= self._look_s:
            self._looked_at = now
            seen = self._identities()
            if seen != self._seen:
                self._seen = seen
                self._read_again()
        return self._current

    def _read_again(self) -> None:
        try:
            current = self._make()
        except FixRequest as error:
            _LOG.error("the certificates stay as they were: %s", error.message)
            return
        if self._alpn:
            current.set_alpn_protocols(self._alpn)
        self._current = current
        _LOG.info("certificates read again: %s", ", ".join(map(str, self._files)))

    def _identities(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for file in self._files:
            try:
                # Through links: a mounted secret is changed by pointing a link elsewhere.
                status = os.stat(file)
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)


_WORDS: Final = (
    ("certificate has expired", "its certificate has expired: it needs a new one"),
    ("Hostname mismatch", "its certificate is of another name than its address here"),
    ("IP address mismatch", "its certificate is of another name than its address here"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is of no CA that is trusted here: give its CA in tls_ca_file",
    ),
    (
        "ALERT_CERTIFICATE_REQUIRED",
        "it asks for a certificate of ours: give tls_cert_file and tls_key_file",
    ),
    ("ALERT_UNKNOWN_CA", "it trusts no CA of our certificate: see tls_cert_file, and its own CAs"),
    ("ALERT_CERTIFICATE_EXPIRED", "our certificate has expired: renew tls_cert_file"),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS"),
)


def tls_words(error: BaseException) -> str:
    """The reason of a failed handshake, with the cure; empty where TLS is not the cause."""
    if not isinstance(error, ssl.SSLError):
        return ""
    reason = str(error)
    told = (words for part, words in _WORDS if part in reason)
    return f"no TLS with it: {next(told, reason)}"


def _check_pair(cert: Path | None, key: Path | None) -> None:
    if (cert is None) != (key is None):
        lacking = "tls_cert_file" if cert is None else "tls_key_file"
        raise FixRequest(f"{lacking} is wanted: a certificate and its key come together")


def _check_plain(*files: Path) -> None:
    for file in files:
        # Who opens a pipe waits for its writer, and with it every connection.
        if os.path.exists(file) and not os.path.isfile(file):
            raise FixRequest(f"{file} is no plain file, and certificates are read from one alone")


def _trusting(ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_trusted(context, ca)
    return context


def _load_trusted(context: ssl.SSLContext, ca: Path) -> None:
    _check_plain(ca)
    try:
        context.load_verify_locations(ca)
    except (ssl.SSLError, OSError) as error:
        raise FixRequest(f"{ca} holds no certificates of a CA: {_reason(error)}") from error


def _load_own(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    _check_plain(cert, key)
    try:
        # A key with a password would have the library ask for it on the terminal.
        context.load_cert_chain(cert, key, password=lambda: "")
        first = x509.load_pem_x509_certificates(cert.read_bytes())[0]
    except (ssl.SSLError, OSError, ValueError, IndexError) as error:
        reason = "the key has a password" if _has_password(key) else _reason(error)
        raise FixRequest(f"{cert} and {key} are no certificate with its key: {reason}") from error
    ends = first.not_valid_after_utc
    _EXPIRES.labels(str(cert)).set(ends.timestamp())
    left_s = (ends - datetime.now(UTC)).total_seconds()
    if left_s < _SOON_S:
        _warn(cert, ends, left_s <= 0)


@functools.cache
def _warn(cert: Path, ends: datetime, is_over: bool) -> None:
    """Once for each file and its end: a process has many contexts of the same files."""
    if is_over:
        _LOG.error("the certificate %s has expired, at %s: replace the file", cert, ends)
    else:
        _LOG.warning("the certificate %s expires at %s: replace the file", cert, ends)


def _has_password(key: Path) -> bool:
    # OpenSSL's reason differs from one form of key to the next; each says it in its head.
    with contextlib.suppress(OSError):
        return b"ENCRYPTED" in key.read_bytes()
    return False


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return {
            "KEY_VALUES_MISMATCH": "the key is of another certificate",
            "NO_START_LINE": "it is no PEM",
        }.get(error.reason or "", str(error))
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
