"""The header of a token. *pure.*"""

from sie_schemas.errors import FixRequest

__all__ = ["bearer_of"]


def bearer_of(token: str) -> str:
    """The value of `Authorization` for a token. Raises `FixRequest`, which does not say it."""
    if token.strip().lower().startswith("bearer "):
        raise FixRequest("the token begins with 'Bearer': give what comes after it alone")
    # httpx refuses it as it sends, with the token in its error: that was asked five times, and told
    # as a cluster that cannot be reached.
    if not (token.isascii() and token.isprintable()) or token != token.strip():
        raise FixRequest(
            "the token holds a line end, a blank at an end or a character that no header carries: "
            "give it without"
        )
    return f"Bearer {token}"
