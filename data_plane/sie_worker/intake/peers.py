"""Peers: the live workers of this worker's kind, as their heartbeats tell.

*pure.* Time is an argument (monotonic seconds). A worker counts while it is ready and was heard
within `silence_s`. One that says that it leaves, or is not ready, is gone at once: nobody would
pull for the models that it is home to. Owned by the pulling loop.
"""

from sie_schemas.fleet import Heartbeat, WorkerKind

__all__ = ["Peers"]


class Peers:
    """The workers that share the models of one kind of worker."""

    def __init__(self, kind: WorkerKind, *, silence_s: float) -> None:
        self._kind = kind
        self._silence_s = silence_s
        self._heard: dict[str, tuple[float, float]] = {}
        """worker id -> (when heard, room)."""

    def heard(self, heartbeat: Heartbeat, now: float) -> None:
        """Take a heartbeat of any worker into account."""
        if heartbeat.kind == self._kind and heartbeat.ready and not heartbeat.leaving:
            # All of a worker's memory, not what is free of it now: free memory moves with every
            # model that is loaded, and a home must not.
            self._heard[heartbeat.worker_id] = (now, float(heartbeat.memory_total_bytes))
        else:
            self._heard.pop(heartbeat.worker_id, None)

    def rooms(self, now: float) -> dict[str, float]:
        """Live workers and their room, 0 where it is not told."""
        self._heard = {
            worker: seen for worker, seen in self._heard.items() if now - seen[0] < self._silence_s
        }
        return {worker: room for worker, (_, room) in self._heard.items()}
