"""The fleet: a gateway's view of the workers, folded from their heartbeats.

*pure.* Promises that a worker counts only while it was heard within the time to live, and not after
it said that it leaves. Reads no clock: `now` is an argument, in seconds of one clock that never
goes back. Knows nothing of models beyond what heartbeats report.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from types import MappingProxyType
from typing import Final

from sie_schemas.fleet import Heartbeat, WorkerKind

__all__ = ["Fleet", "Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """The last heartbeat of a worker and when it was heard.

    `ahead_s` is how far its clock is ahead of ours, in seconds, as far as it says.
    """

    heartbeat: Heartbeat
    at: float
    ahead_s: float = 0.0


_NOBODY: Final[Mapping[str, Seen]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every worker by its id. `ttl_s` is how long a heartbeat is believed.

    Both maps are in the order in which workers were heard: the silent are at the front. So nobody
    is looked at for another one's heartbeat, and a fleet of 1,000 costs little more than one of 10.
    """

    ttl_s: float
    seen: Mapping[str, Seen] = field(default_factory=dict)
    _ready: Mapping[WorkerKind, Mapping[str, Seen]] = field(
        default_factory=dict, compare=False, repr=False
    )
    """The workers whose last word is that they are ready, by kind."""

    def heard(self, heartbeat: Heartbeat, *, now: float, ahead_s: float = 0.0) -> "Fleet":
        """The fleet after a heartbeat. Workers that fell silent are forgotten on the way."""
        seen, ready = dict(self.seen), dict(self._ready)
        _forget(seen, ready, heartbeat.worker_id)
        if not heartbeat.leaving:
            word = seen[heartbeat.worker_id] = Seen(heartbeat, now, ahead_s)
            if heartbeat.ready:
                kind = heartbeat.kind
                ready[kind] = {**ready.get(kind, _NOBODY), heartbeat.worker_id: word}
        for silent in [*takewhile(lambda name: now - seen[name].at > self.ttl_s, seen)]:
            _forget(seen, ready, silent)
        return Fleet(self.ttl_s, seen, ready)

    def without(self, worker_id: str, life: str) -> "Fleet":
        """The fleet after a life of a worker was found to be over."""
        known = self.seen.get(worker_id)
        if known is None or known.heartbeat.life != life:
            return self
        seen, ready = dict(self.seen), dict(self._ready)
        _forget(seen, ready, worker_id)
        return Fleet(self.ttl_s, seen, ready)

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

    def ready(self, kind: WorkerKind, *, now: float) -> Iterator[Heartbeat]:
        """The workers of one kind that run jobs published now, the last heard first."""
        there = self._ready.get(kind, _NOBODY)
        for worker_id in reversed(there):
            seen = there[worker_id]
            if now - seen.at > self.ttl_s:
                return
            yield seen.heartbeat


def _forget(
    seen: dict[str, Seen], ready: dict[WorkerKind, Mapping[str, Seen]], worker_id: str
) -> None:
    """Take a worker out; what others hold of `ready` stays as it is."""
    known = seen.pop(worker_id, None)
    if known is None or not known.heartbeat.ready:
        return
    kind = known.heartbeat.kind
    there = dict(ready[kind])
    del there[worker_id]
    if there:
        ready[kind] = there
    else:
        del ready[kind]
