"""Web pages: which of them may use a process through the browser of whoever looks at them.

*pure.* A browser says of which page a request is, in `Origin`; a program that is no browser sends
none. A page of anywhere else could otherwise have an operator's browser write to a service that
only this machine reaches. Promises that a page which is not named is refused, also one that hides
behind `null`. A page that this very process gave out by a name of this machine needs no name. No
other site can have `localhost` for its own.

A page may also point its own name at this process for a moment (DNS rebinding). Its browser then
takes what is here for the page's own site, and names no origin when it reads. What it cannot hide
is the name, in `Host`: an open process answers to no name that a stranger can own.
"""

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from sie_schemas.errors import FixRequest

__all__ = ["check_host", "check_page", "hosts_of", "origin_of"]

_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OWNED_BY_NOBODY: Final = (
    *(".localhost", ".local", ".internal", ".lan", ".intranet", ".private", ".corp", ".home"),
    *(".home.arpa", ".svc", ".test", ".example", ".invalid"),
)
"""Ends of names that no registry gives out: of this machine, of a cluster, of a private network."""
_AN_ADDRESS: Final = re.compile(rb"[0-9.]+(:[0-9]*)?|\[[0-9a-fA-F:.]+\](:[0-9]*)?")
"""An IP address: whoever is asked by it has no name that could be pointed elsewhere."""


def check_page(origin: bytes, allowed: Collection[str], *, host: bytes = b"") -> None:
    """Raises `FixRequest` FORBIDDEN for a page whose origin is none of these.

    `host` is where the request says that it goes: our own page is of there.
    """
    told = origin.decode("latin-1").strip()
    if told.lower() not in allowed and not _is_own(told.lower(), host.decode("latin-1").lower()):
        raise FixRequest(
            f"a web page of {told[:100]!r} may not use this service; it is none of its web pages "
            "(--web-pages)",
            code="FORBIDDEN",
            field="Origin",
        )


def check_host(host: bytes, allowed: Collection[str], *, cure: str = "") -> None:
    """Raises `FixRequest` FORBIDDEN for a name that a stranger can own, and that is none of these.

    A name without a dot, and one of a private network, belongs to nobody on the public network.
    `cure` is said besides the address; by itself the setting of a process that has names.
    """
    if not host or _AN_ADDRESS.fullmatch(host):
        return
    name = host.decode("latin-1").lower().partition(":")[0].removesuffix(".")
    if "." not in name or name in allowed or name.endswith(_OWNED_BY_NOBODY):
        return
    cure = cure or f"name it with --web-pages http://{name[:100]}"
    raise FixRequest(
        f"nobody said that this service is {name[:100]!r}, and without tokens it answers to no "
        f"name that a web page could point at it: ask it by its address, or {cure}",
        code="FORBIDDEN",
        field="Host",
    )


def hosts_of(origins: Collection[str]) -> frozenset[str]:
    """The names of the hosts of some origins, as `check_host` wants them."""
    return frozenset(urlsplit(each).hostname or "" for each in origins) - {""}


def origin_of(url: str) -> str:
    """The origin of a URL, as a browser writes it; empty where there is none."""
    parts = urlsplit(url.strip().lower())
    if not parts.scheme or not parts.hostname:
        return ""
    port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2].removesuffix(port)}"


def _is_own(origin: str, host: str) -> bool:
    """True for a page of this process on this machine. A name of elsewhere that leads here for a
    moment (DNS rebinding) is none of the names of this machine."""
    if origin != f"http://{host}":
        return False
    try:
        return urlsplit(origin).hostname in _THIS_MACHINE
    except ValueError:
        return False
