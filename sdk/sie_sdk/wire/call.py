"""A request before it is sent, and the address that it goes to.

*pure.* What every client stands on. It knows no item and no array: the config client and the
command line import it, and must start fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from sie_sdk.patience import Patience

__all__ = ["Call", "base_url_of"]

_SHORT: Final = Patience(provision_timeout_s=60.0)
"""For what asks for no inference: nobody has to come for it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request before it is sent. `is_single` tells that the caller gave one item and no list."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    count: int = 0
    is_single: bool = False
    patience: Patience = _SHORT
    wants: tuple[str, ...] = ()
    """Names that the answer has to hold, where it is a mapping."""
    asked: Mapping[str, str | None] = field(default_factory=dict)
    """The model, the gpu, the lora or the pool_name that the caller asked for."""


def base_url_of(
    given: str | None,
    environ: Mapping[str, str],
    *,
    variable: str = "SIE_BASE_URL",
    whose: str = "the gateway",
) -> str:
    """A service's address. Raises `ValueError` where there is none or it is not http(s)."""
    url = (given or environ.get(variable) or "").strip().rstrip("/")
    if not url:
        raise ValueError(f"give the address of {whose} as base_url or in {variable}")
    try:
        parts = urlsplit(url)
        # To ask for the port is to check it.
        is_one = parts.port != 0 and parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from error
    if not is_one:
        raise ValueError(f"{url!r} is not an http(s) address with a host, like http://host:8081")
    if parts.username is not None or parts.password is not None:
        # It would be sent to nobody, and stand in every log.
        raise ValueError("an address holds no user and no password: give a token")
    if parts.fragment or parts.query or parts.path.endswith("/console"):
        page = url.partition("#")[0].partition("?")[0].rstrip("/").removesuffix("/console")
        raise ValueError(f"{url!r} is the address of a page: give {page!r}")
    return url
