"""The traces of writes that are on their way to the stream.

*pure.* A write is answered before it is published, so its trace waits here for its entry, by the id
of its request. Bounded: the oldest is forgotten, and its entry is published without a span.
"""

from typing import Final

__all__ = ["WriteTraces"]

_MOST: Final = 1_000
"""Writes that wait for the broker and are traced: the oldest loses its span, nothing else."""


class WriteTraces:
    """Owner: the broadcast; a write notes its own."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}

    def note(self, request_id: str, traceparent: str) -> None:
        """The entry of this request is made in this trace."""
        self._waiting[request_id] = traceparent
        if len(self._waiting) > _MOST:
            del self._waiting[next(iter(self._waiting))]

    def of(self, request_id: str) -> str:
        """The trace of a request's entry; empty where it has none."""
        return self._waiting.get(request_id, "")

    def forget(self, request_id: str) -> None:
        """Its entry is on the stream."""
        self._waiting.pop(request_id, None)
