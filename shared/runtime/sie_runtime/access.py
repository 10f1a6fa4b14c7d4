"""Access: who may do what, by bearer tokens that are stored as hashes.

*shell.* Owns the file of tokens, which it reads again when it changes. Promises that a token is
compared in constant time with every hash, that a file that cannot be read never opens a door (at
the start it ends the process, later the last good one stays in force, loudly), and that without a
file everything is open and that is said once. A token is long and random, so that a plain SHA-256
hides it; a password is not a token.
"""

import hashlib
import hmac
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from sie_runtime.settings import setting
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED

__all__ = [
    "Access",
    "AccessSettings",
    "Grant",
    "Principal",
    "Role",
    "Tokens",
    "hash_of",
    "read_tokens",
]

Role: TypeAlias = Literal["infer", "read", "propose", "admin", "audit"]
"""`infer` sends requests, `read` sees models and configs, `propose` may try a change without making
it, `admin` may do everything, `audit` sees who did what."""

_LOG: Final = logging.getLogger(__name__)


class Grant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the file: what the bearer of a token may do. `sha256` is the token's, in hex."""

    name: str
    sha256: str
    roles: tuple[Role, ...]
    tenant: str = ""


class Tokens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: JSON."""

    tokens: tuple[Grant, ...]


class Principal(Struct, frozen=True):
    """Who asks. Nobody in particular where everything is open."""

    name: str
    tenant: str
    roles: frozenset[str]

    def may(self, role: Role) -> bool:
        """Whether it has a role; an admin has every one."""
        return role in self.roles or "admin" in self.roles


_ANYONE: Final = Principal("", "", frozenset({"admin"}))
"""Whoever asks where everything is open."""


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """Who may use this process."""

    auth_file: Path | None = setting(
        None, help="file of token hashes (`sie token new` writes it); absent lets everyone in"
    )
    auth_reload_s: float = setting(1.0, help="seconds between looks whether that file changed")


class Access:
    """The door. One for each process; used by one loop."""

    def __init__(
        self, settings: AccessSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises `FixRequest` when there is a file and it cannot be read."""
        self._path = settings.auth_file
        self._reload_s = settings.auth_reload_s
        self._clock = clock
        self._grants: tuple[Grant, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._looked_at = clock()
        if self._path is None:
            _LOG.warning("NO ACCESS CONTROL: everyone who reaches this process may do everything")
        else:
            self._seen = _identity(self._path)
            self._grants = read_tokens(self._path).tokens

    @classmethod
    def open(cls, settings: AccessSettings) -> "Access":
        """For a `main`: a file that cannot be used is printed as one line, and exits with 2."""
        try:
            return cls(settings)
        except FixRequest as error:
            sys.stderr.write(f"error: {error.message}\n")
            raise SystemExit(2) from error

    @property
    def is_open(self) -> bool:
        """Whether everyone is let in."""
        return self._path is None

    def check(self, headers: Mapping[bytes, bytes], role: Role) -> Principal:
        """Who asks. Raises `FixRequest` UNAUTHORIZED or FORBIDDEN."""
        if self._path is None:
            tenant = headers.get(b"x-sie-tenant")
            if tenant is None:
                return _ANYONE
            return Principal("", tenant.decode("latin-1").strip(), _ANYONE.roles)
        self._reload(self._path)
        principal = self._bearer(headers.get(b"authorization", b""))
        if not principal.may(role):
            raise FixRequest(
                f"the token {principal.name!r} does not have the role {role!r}", code="FORBIDDEN"
            )
        return principal

    def _bearer(self, header: bytes) -> Principal:
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            raise FixRequest(
                "a token is wanted: send the header `Authorization: Bearer <token>`",
                code="UNAUTHORIZED",
            )
        presented = hash_of(token.strip())
        found: Grant | None = None
        # Every hash is compared, so that the time tells nothing of where a match was.
        for grant in self._grants:
            if hmac.compare_digest(grant.sha256, presented):
                found = grant
        if found is None:
            raise FixRequest("the token is not known here", code="UNAUTHORIZED")
        return Principal(found.name, found.tenant, frozenset(found.roles))

    def _reload(self, path: Path) -> None:
        now = self._clock()
        if now - self._looked_at < self._reload_s:
            return
        self._looked_at = now
        try:
            seen = _identity(path)
            if seen == self._seen:
                return
            self._grants = read_tokens(path).tokens
        except FixRequest as error:
            _LOG.error("the tokens stay as they were: %s", error.message)
        else:
            self._seen = seen
            _LOG.info("tokens read again: %d", len(self._grants))


def hash_of(token: bytes) -> str:
    """How a token is stored."""
    return hashlib.sha256(token).hexdigest()


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise FixRequest(f"{path} cannot be read ({error.strerror})") from error
    return status.st_mtime_ns, status.st_ino, status.st_size


def read_tokens(path: Path) -> Tokens:
    """The file of tokens, checked. Raises `FixRequest`."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Tokens)
    except OSError as error:
        raise FixRequest(f"{path} cannot be read ({error.strerror})") from error
    except MALFORMED as error:
        raise FixRequest(f"{path} is not a file of tokens: {error}") from error
    for grant in found.tokens:
        if len(grant.sha256) != 64 or grant.sha256.strip("0123456789abcdef"):
            raise FixRequest(f"{path}: the sha256 of {grant.name!r} is not 64 hex digits")
    names = [grant.name for grant in found.tokens]
    if len(set(names)) < len(names):
        raise FixRequest(f"{path}: two tokens have one name")
    return found
