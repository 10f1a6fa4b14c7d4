"""The fleet: a gateway's view of the workers, folded from their heartbeats.

*pure.* Promises that a worker counts only while it was heard within the time to live, and not after
it said that it leaves. No more than a number of them are known: who has one worker's password could
invent any. Reads no clock: `now` is an argument, in seconds of one clock. Knows nothing of models
beyond what heartbeats report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sie_schemas.fleet import Heartbeat, WorkerKind

__all__ = ["WORKERS_MAX", "Fleet", "Seen"]

WORKERS_MAX: Final = 4096
"""Known at a time. Each heartbeat costs a copy of them: 20,000 that were invented once held a
gateway up for 36 s."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last heartbeat of a worker and when it was heard.

    `ahead_s` is how far its clock is ahead of ours, in seconds, as far as it says.
    """

    heartbeat: Heartbeat
    at: float
    ahead_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every worker by its id. `ttl_s` is how long a heartbeat is believed."""

    ttl_s: float
    seen: Mapping[str, Seen] = field(default_factory=dict)
    """The one that was heard last stands last."""
    _ready: dict[WorkerKind, Sequence[Seen]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """The workers whose last word is that they are ready, by kind: found once for all requests
    between two words."""

    def heard(self, heartbeat: Heartbeat, *, now: float, ahead_s: float = 0.0) -> "Fleet":
        """The fleet after a heartbeat. Workers that fell silent are forgotten on the way, and one
        that is new to a full fleet is not taken up."""
        seen = dict(self.seen)
        seen.pop(heartbeat.worker_id, None)
        while seen and now - seen[oldest := next(iter(seen))].at > self.ttl_s:
            del seen[oldest]
        if not heartbeat.leaving and len(seen) < WORKERS_MAX:
            seen[heartbeat.worker_id] = Seen(heartbeat, now, ahead_s)
        return replace(self, seen=seen)

    def without(self, worker_id: str, life: str) -> "Fleet":
        """The fleet after a life of a worker was found to be over."""
        known = self.seen.get(worker_id)
        if known is None or known.heartbeat.life != life:
            return self
        seen = {other: each for other, each in self.seen.items() if other != worker_id}
        return replace(self, seen=seen)

    def live(self, *, now: float) -> list[Heartbeat]:
        """The workers that are alive, ready or not, by id."""
        return [
            seen.heartbeat for _, seen in sorted(self.seen.items()) if now - seen.at <= self.ttl_s
        ]

    def clocks(self, *, now: float) -> dict[str, float]:
        """By the id of each worker that is alive, the seconds that its clock is ahead of ours."""
        return {
            worker_id: seen.ahead_s
            for worker_id, seen in self.seen.items()
            if now - seen.at <= self.ttl_s
        }

    def ready(self, kind: WorkerKind, *, now: float) -> list[Heartbeat]:
        """The workers of one kind that run jobs published now."""
        there = self._ready.get(kind)
        if there is None:
            there = self._ready[kind] = [
                seen
                for seen in self.seen.values()
                if seen.heartbeat.ready and seen.heartbeat.kind == kind
            ]
        return [seen.heartbeat for seen in there if now - seen.at <= self.ttl_s]
