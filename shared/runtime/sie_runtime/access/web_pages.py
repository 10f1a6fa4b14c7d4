"""Web pages: which of them may use a process through the browser of whoever looks at them.

*pure.* A browser says of which page a request is, in `Origin`; a program that is no browser sends
none. A page of anywhere else could otherwise have an operator's browser write to a service that
only this machine reaches. Promises that a page which is not named is refused, also one that hides
behind `null`. A page that this very process gave out by a name of this machine needs no name. No
other site can have `localhost` for its own.
"""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from sie_schemas.errors import FixRequest

__all__ = ["check_page", "origin_of"]

_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


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
