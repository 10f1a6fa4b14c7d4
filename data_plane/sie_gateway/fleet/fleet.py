"""The fleet: a gateway's view of the workers, folded from their heartbeats.

*pure.* Promises that a worker counts only while it was heard within the time to live, and not after
it said that it leaves. They are bounded in number, and so is what they say of models: who has one
worker's password could invent any. Reads no clock: `now` is an argument, in
seconds of one clock that never goes back. Knows nothing of models beyond what heartbeats report.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from sie_schemas.fleet import Heartbeat, WorkerKind

__all__ = ["FLEET_BYTES_MAX", "HEARTBEAT_BYTES_MAX", "WORKERS_MAX", "Fleet", "Seen"]

WORKERS_MAX: Final = 4096
"""Known at a time: four times the largest fleet that was measured. 20,000 that were invented once
held a gateway up for 36 s."""
HEARTBEAT_BYTES_MAX: Final = 1024 * 1024
"""Of one heartbeat: what it says of 5,000 models. Longer ones are not read."""
FLEET_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of all: 4,096 workers with 80 models each. In memory they are up to twenty times as much."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last heartbeat of a worker and when it was heard.

    `ahead_s` is how far its clock is ahead of ours, in seconds, as far as it says. `size` are the
    bytes that count for it.
    """

    heartbeat: Heartbeat
    at: float
    ahead_s: float = 0.0
    size: int = 0


_NOBODY: Final[dict[str, Seen]] = {}


class Fleet:
    """Every worker by its id. `ttl_s` is how long a heartbeat is believed. Owner: one loop.

    Workers are in the order in which they were heard, so the silent are at the front. Nobody is
    looked at for another one's heartbeat: a fleet of 1,000 costs what one of 10 does.
    """

    def __init__(self, ttl_s: float) -> None:
        self.ttl_s: Final = ttl_s
        self._seen: dict[str, Seen] = {}
        self._bytes = 0
        self._ready: dict[WorkerKind, dict[str, Seen]] = {}
        """The workers whose last word is that they are ready, by kind."""

    @property
    def seen(self) -> Mapping[str, Seen]:
        """The last word of each worker."""
        return self._seen

    def heard(
        self, heartbeat: Heartbeat, *, now: float, ahead_s: float = 0.0, size: int = 0
    ) -> None:
        """Take a heartbeat of so many bytes in. Workers that fell silent are forgotten on the way.
        One that is new to a full fleet is not taken up. What a worker says of models is dropped
        where it has no room."""
        # It goes back in at the end: both tables stay in the order of the last word. And one that
        # is known finds its room again in a full fleet.
        self._forget(heartbeat.worker_id)
        while self._seen and now - self._seen[first := next(iter(self._seen))].at > self.ttl_s:
            self._forget(first)
        if not heartbeat.leaving and len(self._seen) < WORKERS_MAX:
            if self._bytes + size > FLEET_BYTES_MAX:
                heartbeat, size = replace(heartbeat, models={}), 0
            self._bytes += size
            word = self._seen[heartbeat.worker_id] = Seen(heartbeat, now, ahead_s, size)
            if heartbeat.ready:
                self._ready.setdefault(heartbeat.kind, {})[heartbeat.worker_id] = word

    def over(self, worker_id: str, life: str) -> None:
        """A life of a worker was found to be over."""
        known = self._seen.get(worker_id)
        if known is not None and known.heartbeat.life == life:
            self._forget(worker_id)

    def live(self, *, now: float) -> list[Heartbeat]:
        """The workers that are alive, ready or not, by id."""
        return [
            seen.heartbeat for _, seen in sorted(self._seen.items()) if now - seen.at <= self.ttl_s
        ]

    def clocks(self, *, now: float) -> dict[str, float]:
        """By the id of each worker that is alive, the seconds that its clock is ahead of ours."""
        return {
            worker_id: seen.ahead_s
            for worker_id, seen in self._seen.items()
            if now - seen.at <= self.ttl_s
        }

    def ready(self, kind: WorkerKind, *, now: float) -> Iterator[Heartbeat]:
        """The workers of one kind that run jobs published now, the last heard first."""
        there = self._ready.get(kind, _NOBODY)
        for worker_id in reversed(there):
            seen = there[worker_id]
            # All that follow were heard before it.
            if now - seen.at > self.ttl_s:
                return
            yield seen.heartbeat

    def _forget(self, worker_id: str) -> None:
        known = self._seen.pop(worker_id, None)
        if known is None:
            return
        self._bytes -= known.size
        if not known.heartbeat.ready:
            return
        kind = known.heartbeat.kind
        there = self._ready[kind]
        del there[worker_id]
        if not there:
            del self._ready[kind]
