"""Access: who may do what, by bearer tokens that are stored as hashes.

*shell.* Owns the file of tokens, which it reads again when it changes. Promises:

- A token is compared in constant time with every hash.
- A file that cannot be read never opens a door. At the start it ends the process; later the last
  good one stays in force, loudly.
- Without a file everything is open, and that is said once.

A token is long and random, so that a plain SHA-256 hides it; a password is not a token.
"""

import hashlib
import hmac
import logging
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from sie_runtime.settings import constant, setting
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED

__all__ = [
    "Access",
    "AccessSettings",
    "Grant",
    "Principal",
    "Role",
    "Tokens",
    "check_grant",
    "check_tenant",
    "hash_of",
    "read_tokens",
]

Role: TypeAlias = Literal["infer", "read", "metrics", "propose", "report", "admin", "audit"]
"""`infer` sends requests, `read` sees models and configs, `metrics` only metrics, `propose` may try
a change without making it. `report` speaks as the replica that the token names, `audit` sees who
did what, `admin` may do everything else."""

_LOG: Final = logging.getLogger(__name__)
_OF_REPLICAS: Final = frozenset({"read", "report"})
_REPLICA: Final = re.compile(r"(gateway|worker)/([A-Za-z0-9_-]{1,64}|[A-Za-z0-9_-]{0,63}\*)")

_TENANT: Final = re.compile(r"[A-Za-z0-9._:@/+=~-]{1,128}")
"""It is in every job, in log lines and in messages."""


class Grant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of the file: what the bearer of a token may do. `sha256` is the token's, in hex."""

    name: str
    sha256: str
    roles: tuple[Role, ...]
    tenant: str = ""
    replica: str = ""
    """The bearer's name among the replicas: `gateway/g1`, or `worker/gpu-*` for each id that begins
    so. Wanted for the role `report`, and for no other."""


class Tokens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: JSON."""

    tokens: tuple[Grant, ...]


class Principal(Struct, frozen=True):
    """The caller of a request. Nobody in particular where everything is open."""

    name: str
    tenant: str
    roles: frozenset[str]
    replica: str = ""

    @property
    def is_known(self) -> bool:
        """True if a token says who it is."""
        return bool(self.name)

    def speaks_as(self, role: str, replica_id: str) -> bool:
        """True if the token names this replica."""
        told = f"{role}/{replica_id}"
        if self.replica.endswith("*"):
            return told.startswith(self.replica.removesuffix("*"))
        return told == self.replica

    def may(self, role: Role) -> bool:
        """True if it has a role; an admin has every one, and who may `read` sees metrics too."""
        if role == "metrics" and "read" in self.roles:
            return True
        return role in self.roles or "admin" in self.roles

    def require(self, role: Role) -> None:
        """Raises `FixRequest` FORBIDDEN for one that does not have a role."""
        if not self.may(role):
            raise FixRequest(
                f"the token {self.name!r} does not have the role {role!r}", code="FORBIDDEN"
            )


_ANYONE: Final = Principal("", "", frozenset({"admin"}))
"""Whoever asks where everything is open."""


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """The settings that say who may use this process."""

    auth_file: Path | None = setting(
        None, help="file of token hashes (`sie token new` writes it); absent lets everyone in"
    )
    auth_reload_s: float = constant(1.0, help="seconds between looks whether that file changed")


class Access:
    """The door. One for each process; used by one loop."""

    def __init__(
        self,
        settings: AccessSettings,
        *,
        replicas: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`replicas` is a further file, of replicas alone, where tokens are in force.

        Raises `FixRequest` when there is a file and it cannot be read.
        """
        self._path = settings.auth_file
        self._replicas = replicas
        self._reload_s = settings.auth_reload_s
        self._clock = clock
        self._grants: tuple[Grant, ...] = ()
        self._seen: tuple[tuple[int, int, int], ...] = ()
        self._looked_at = clock()
        if self._path is None:
            _LOG.warning("NO ACCESS CONTROL: everyone who reaches this process may do everything")
        else:
            # Before the file is read: what is written between the two is read again at the next
            # look.
            self._seen = self._identities(self._path)
            self._grants = self._read(self._path)

    @classmethod
    def open(cls, settings: AccessSettings, *, replicas: Path | None = None) -> "Access":
        """For a `main`: a file that cannot be used is printed as one line, and exits with 2."""
        try:
            return cls(settings, replicas=replicas)
        except FixRequest as error:
            sys.stderr.write(f"error: {error.message}\n")
            raise SystemExit(2) from error

    @property
    def is_open(self) -> bool:
        """True if everyone is let in."""
        return self._path is None

    def check(self, headers: Mapping[bytes, bytes], role: Role) -> Principal:
        """The caller, who has that role. Raises `FixRequest` UNAUTHORIZED or FORBIDDEN."""
        principal = self.identify(headers)
        principal.require(role)
        return principal

    def identify(self, headers: Mapping[bytes, bytes]) -> Principal:
        """The caller, whatever it may do. Raises `FixRequest` UNAUTHORIZED, or INVALID_REQUEST for
        a tenant that is no name."""
        if self._path is None:
            tenant = headers.get(b"x-sie-tenant", b"").decode("latin-1").strip()
            if not tenant:
                return _ANYONE
            check_tenant(tenant, field="X-SIE-Tenant")
            return Principal("", tenant, _ANYONE.roles)
        self._reload(self._path)
        return self._bearer(headers.get(b"authorization", b""))

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
        return Principal(found.name, found.tenant, frozenset(found.roles), found.replica)

    def _reload(self, path: Path) -> None:
        now = self._clock()
        if now - self._looked_at < self._reload_s:
            return
        self._looked_at = now
        try:
            seen = self._identities(path)
            if seen == self._seen:
                return
            self._grants = self._read(path)
        except FixRequest as error:
            _LOG.error("the tokens stay as they were: %s", error.message)
        else:
            self._seen = seen
            _LOG.info("tokens read again: %d", len(self._grants))

    def _identities(self, path: Path) -> tuple[tuple[int, int, int], ...]:
        return tuple(_identity(each) for each in (path, self._replicas) if each is not None)

    def _read(self, path: Path) -> tuple[Grant, ...]:
        grants = read_tokens(path).tokens
        if self._replicas is None:
            return grants
        of_replicas = read_tokens(self._replicas).tokens
        for grant in of_replicas:
            if not set(grant.roles) <= _OF_REPLICAS:
                raise FixRequest(
                    f"{self._replicas}: {grant.name!r} has more than the roles of a replica, "
                    f"{', '.join(sorted(_OF_REPLICAS))}"
                )
        return (*grants, *of_replicas)


def check_tenant(name: str, *, field: str) -> None:
    """Refuse what is no name of a tenant. Raises `FixRequest`."""
    if not _TENANT.fullmatch(name):
        raise FixRequest(
            f"{field} takes 1 to 128 letters, digits and `. _ - : @ / + = ~`", field=field
        )


def hash_of(token: bytes) -> str:
    """The form in which a token is stored."""
    return hashlib.sha256(token).hexdigest()


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unread(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        # Who opens a pipe waits for its writer, and with it whoever asks for anything.
        raise FixRequest(f"{path} is no plain file, and tokens are read from one alone")
    return status.st_mtime_ns, status.st_ino, status.st_size


def read_tokens(path: Path) -> Tokens:
    """The file of tokens, checked. Raises `FixRequest`."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Tokens)
    except OSError as error:
        raise _unread(path, error) from error
    except MALFORMED as error:
        raise FixRequest(f"{path} is not a file of tokens: {error}") from error
    for grant in found.tokens:
        check_grant(grant, str(path))
    names = [grant.name for grant in found.tokens]
    if len(set(names)) < len(names):
        raise FixRequest(f"{path}: two tokens have one name")
    return found


def _unread(path: Path, error: OSError) -> FixRequest:
    cure = ""
    if isinstance(error, FileNotFoundError):
        cure = f": `sie token new NAME --file {path} --roles ROLES` makes it"
    return FixRequest(f"the tokens in {path} cannot be read ({error.strerror}){cure}")


def check_grant(grant: Grant, where: str) -> None:
    """Raises `FixRequest` for a grant that cannot be meant."""
    if not grant.name:
        raise FixRequest(f"{where}: a token has no name")
    if len(grant.sha256) != 64 or grant.sha256.strip("0123456789abcdef"):
        raise FixRequest(f"{where}: the sha256 of {grant.name!r} is not 64 hex digits")
    if grant.tenant:
        check_tenant(grant.tenant, field=f"{where}: the tenant of {grant.name!r}")
    if grant.replica and not _REPLICA.fullmatch(grant.replica):
        raise FixRequest(
            f"{where}: {grant.name!r} names the replica {grant.replica!r}; one is named like "
            "gateway/g1, or worker/gpu-* for each id that begins so"
        )
    if ("report" in grant.roles) != bool(grant.replica):
        raise FixRequest(
            f"{where}: {grant.name!r} has the role 'report' without a replica that it speaks as, "
            "or a replica without that role"
        )
