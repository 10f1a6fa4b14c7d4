"""Peers: the live workers of this worker's kind, as their heartbeats tell.

*pure.* Time is an argument (monotonic seconds). A worker counts while it is ready and was heard
within `silence_s`. One that says that it leaves, or is not ready, is gone at once: nobody would
pull for the models that it is home to. They are bounded in number, and who is there stays: who has
one worker's password could invent any. Owned by the pulling loop.
"""

from typing import Final

from sie_schemas.fleet import Heartbeat, WorkerKind

__all__ = ["PEERS_MAX", "Peers"]

PEERS_MAX: Final = 4096
"""As many workers as a gateway knows, which are of all kinds."""


class Peers:
    """The workers that share the models of one kind of worker."""

    def __init__(self, kind: WorkerKind, *, silence_s: float) -> None:
        self._kind = kind
        self._silence_s = silence_s
        self._heard: dict[str, tuple[float, float]] = {}
        """worker id -> (when heard, room)."""

    def heard(self, heartbeat: Heartbeat, now: float) -> bool:
        """Take a heartbeat of any worker into account. Whether it changes who lives, or the room.

        One heartbeat costs the same among thousands of peers: nobody else is looked at.
        """
        before = self._heard.get(heartbeat.worker_id)
        if heartbeat.kind != self._kind or not heartbeat.ready or heartbeat.leaving:
            self._heard.pop(heartbeat.worker_id, None)
            return before is not None
        if before is None and len(self._heard) >= PEERS_MAX:
            return False
        # All of a worker's memory, not what is free of it now: free memory moves with every
        # model that is loaded, and a home must not.
        self._heard[heartbeat.worker_id] = (now, float(heartbeat.memory_total_bytes))
        return before is None or before[1] != float(heartbeat.memory_total_bytes)

    def rooms(self, now: float) -> dict[str, float]:
        """Live workers and their room, 0 where it is not told."""
        self._heard = {
            worker: seen for worker, seen in self._heard.items() if now - seen[0] < self._silence_s
        }
        return {worker: room for worker, (_, room) in self._heard.items()}
