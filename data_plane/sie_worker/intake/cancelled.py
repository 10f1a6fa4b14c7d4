"""Cancelled requests: whose client left, so that a job pulled later costs nothing.

*pure.* Remembers the newest ids, a bounded number. A request that was forgotten is only run for
nobody, and its result is dropped by the gateway.
"""

__all__ = ["CancelledRequests"]


class CancelledRequests:
    """The ids, oldest first. Owned by the event loop of the worker."""

    def __init__(self, *, ids_max: int) -> None:
        self._ids_max = ids_max
        self._ids: dict[str, None] = {}

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, request_id: str) -> None:
        """Remember a request; the oldest is forgotten where there are too many."""
        self._ids.pop(request_id, None)
        self._ids[request_id] = None
        if len(self._ids) > self._ids_max:
            del self._ids[next(iter(self._ids))]
