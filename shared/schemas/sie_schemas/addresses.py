"""Addresses as they may be shown: without a user and a password in them.

*pure.* People paste addresses with their password, and what repeats one stands in a log, an audit
or a terminal for years. Everything that tells of an address goes through here: each error, each log
line, each line of a command.
"""

import re
from typing import Final

__all__ = ["without_password"]

_USER: Final = re.compile(r"(?<=://)[^/?#@\s\"<>]+@")
"""RFC 3986: the user's part ends with @ and holds no slash."""


def without_password(text: str) -> str:
    """The same text, in which no address has a user or a password."""
    if "://" not in text or "@" not in text:
        return text
    return _USER.sub("", text)
