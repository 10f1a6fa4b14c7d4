"""Answers within bounds, for a client that may have reached a stranger.

*shell* inside httpx, whose own times are for each read: one byte now and then is never late there.
Promises that a body ends by its time or with an error, and that no more than its bound is held.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import httpx

__all__ = ["EVENTS", "PLAIN", "Held", "UnfitAnswer"]

PLAIN: Final[Mapping[str, str]] = MappingProxyType({"accept-encoding": "identity"})
"""The header of a request whose answer is bounded: of packed bytes a few may be gigabytes."""
EVENTS: Final[Mapping[str, Any]] = MappingProxyType({"sie_events": True})
"""The extensions of a request that is answered by events for as long as somebody listens. Each of
them is bounded in its bytes, and none in time."""
_EVENT_ENDS: Final = b"\n\n"
_BYTES_PER_S: Final = 16_384
"""Bytes of an answer that earn it one second more, as those of a request do."""


class UnfitAnswer(httpx.RemoteProtocolError):
    """An answer that is too large, or packed. Asking again brings the same."""


class Held:
    """The bytes of an answer that somebody holds by now, and how long it may take."""

    def __init__(
        self, response: httpx.Response, bytes_max: int, *, timeout_s: float | None
    ) -> None:
        """`timeout_s` and what its bytes earn; None is without end. Raises `UnfitAnswer` for one
        that came packed, unasked."""
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"", "identity"}:
            raise UnfitAnswer(f"the answer came as {coding[:40]!r}, unasked")
        self._bytes_max = bytes_max
        # By what was asked: an answer may say anything of itself. A refusal is read whole.
        asked_for_events = EVENTS.items() <= response.request.extensions.items()
        self._is_events = asked_for_events and response.status_code == httpx.codes.OK
        self._timeout_s = None if self._is_events else timeout_s
        self._size = 0
        self._last = b""

    def take(self, part: bytes) -> None:
        """Raises `UnfitAnswer`."""
        self._size += len(part)
        if self._size > self._bytes_max:
            raise UnfitAnswer(f"the answer has over {self._bytes_max} bytes")
        if self._is_events:
            found = self._last + part
            if _EVENT_ENDS in found:
                self._size = len(found) - found.rindex(_EVENT_ENDS) - len(_EVENT_ENDS)
            self._last = part[-1:]

    @property
    def within_s(self) -> float | None:
        """Seconds from the beginning until the next part."""
        return None if self._timeout_s is None else self._timeout_s + self._size / _BYTES_PER_S
