"""The feed of sie-config, read: server-sent events, line by line.

*pure.* An event is given when its last line has come. What is no event of ours is an error, and is
not skipped.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from sie_schemas.errors import OurFault
from sie_schemas.malformed import MALFORMED

__all__ = ["FEED_PATH", "FeedEvent", "FeedReader", "feed_headers"]

FEED_PATH: Final = "/v1/configs/events"


class FeedEvent(Struct, frozen=True, kw_only=True):
    """One event: `head`, `entry`, `replicas` or `reset`. `id` resumes after it, where there is
    one."""

    name: str
    id: str = ""
    data: dict[str, Any]


def feed_headers(last_id: str) -> dict[str, str]:
    """The headers that ask for what came after an event."""
    asked = {"Accept": "text/event-stream"}
    return asked | {"Last-Event-ID": last_id} if last_id else asked


class FeedReader:
    """The lines of one answer, in order."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}
        self._rest = b""

    def lines(self, data: bytes) -> list[str]:
        """The lines that end within these bytes, the next of an answer."""
        # Only there: a text may hold what other tools take for the end of a line, like U+2028.
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.removesuffix(b"\r").decode(errors="replace") for line in whole]

    def take(self, line: str) -> FeedEvent | None:
        """The event that ends with this line, if one does. Raises `OurFault`."""
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        if "event" not in fields:
            return None
        try:
            data = msgspec.json.decode(fields.get("data", ""), type=dict[str, Any])
        except MALFORMED as error:
            raise OurFault(f"an event of the feed cannot be read: {error}") from error
        return FeedEvent(name=fields["event"], id=fields.get("id", ""), data=data)
