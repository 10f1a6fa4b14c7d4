"""Access: the token that the `sie` command sends, from the environment.

*shell.* `SIE_CONFIG_TOKEN`, else `SIE_API_KEY`, as every other sub-command takes them; without one
nothing is sent.
"""

import os

__all__ = ["token_header"]


def token_header() -> dict[str, str]:
    """The header that carries the token."""
    token = os.environ.get("SIE_CONFIG_TOKEN") or os.environ.get("SIE_API_KEY")
    return {"authorization": f"Bearer {token}"} if token else {}
