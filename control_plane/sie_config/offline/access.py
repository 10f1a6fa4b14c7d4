"""Access: what the `sie` command sends with a request, from the environment.

*shell.* The token in `SIE_CONFIG_TOKEN`, else `SIE_API_KEY`, as every other sub-command takes them;
without one nothing is sent. The CAs and the certificate by `SIE_CA_FILE` and its kin.
"""

import os
import ssl

from sie_runtime.tls import client_tls, connecting_context

__all__ = ["token_header", "verify"]


def token_header() -> dict[str, str]:
    """The header that carries the token."""
    token = os.environ.get("SIE_CONFIG_TOKEN") or os.environ.get("SIE_API_KEY")
    return {"authorization": f"Bearer {token}"} if token else {}


def verify() -> ssl.SSLContext | bool:
    """The `verify` of httpx: True is the system's CAs. Raises `FixRequest`."""
    context = connecting_context(client_tls())
    return True if context is None else context
