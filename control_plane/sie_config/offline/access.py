"""Access: what the `sie` command sends with a request, from the environment.

*shell.* The token in `SIE_CONFIG_TOKEN`, else `SIE_API_KEY`, as every other sub-command takes them;
without one nothing is sent. The CAs and the certificate by `SIE_CA_FILE` and its kin. Promises that
a stranger at the address is not waited for without end, nor kept in memory.
"""

import os
import ssl
from typing import Any, Final

import httpx

from sie_runtime.http.bounded_answers import ask
from sie_runtime.tls import client_tls, connecting_context

__all__ = ["asked", "asked_json"]

_ANSWER_BYTES_MAX: Final = 64 * 1024**2
"""Many times the place and the reports of 10,000 replicas."""


def asked(method: str, url: str, *, within_s: float, **told: Any) -> httpx.Response:
    """One answer, for `within_s` seconds at each step. Raises `httpx.HTTPError`, `FixRequest`."""
    return ask(
        method,
        url,
        headers=_token_header(),
        body_bytes_max=_ANSWER_BYTES_MAX,
        within_s=within_s,
        verify=_verify(),
        **told,
    )


def asked_json(url: str, *, within_s: float) -> Any:
    """The JSON that an address tells. Raises `ValueError`, or `RecursionError`, for another."""
    return asked("GET", url, within_s=within_s).json()


def _token_header() -> dict[str, str]:
    """The header that carries the token."""
    token = os.environ.get("SIE_CONFIG_TOKEN") or os.environ.get("SIE_API_KEY")
    return {"authorization": f"Bearer {token}"} if token else {}


def _verify() -> ssl.SSLContext | bool:
    """The `verify` of httpx: True is the system's CAs. Raises `FixRequest`."""
    context = connecting_context(client_tls())
    return True if context is None else context
