"""Lives: which workers live, which may have died, and what a silence means.

*pure.* Folds heartbeats and answers; reads no clock: `now` is an argument, in seconds of one clock.
A life is one process under a worker's name. Promises:

- A life which is heard or answers is never over.
- It is over only when nobody listens where it alone would. It must have fallen silent or left
  before, or another one spoken under its name.
- One that is silent although somebody listens is *stuck* after `dead_s`: it was stopped, or its
  machine is gone, and it may come back.
- No more than a number of them are known, in all and under one name; those that are, stay.
"""

from dataclasses import dataclass
from typing import Final

from sie_gateway.fleet.fleet import WORKERS_MAX
from sie_schemas.fleet import Heartbeat, WorkerKind

__all__ = ["LIVES_MAX", "LIVES_OF_ONE_MAX", "Life", "Lives"]

LIVES_MAX: Final = 2 * WORKERS_MAX
"""Of each worker the one that ended and the one after it."""
LIVES_OF_ONE_MAX: Final = 16
"""Under one name: a worker that crashes at each start has two or three that were not asked yet. A
new one is compared with each: 20,000 took 6 s."""

_OLD: Final = 20
"""Times the silence that means death."""


@dataclass(frozen=True, slots=True)
class Life:
    """One process of a worker. `name` is random; empty of a release that cannot be asked."""

    worker_id: str
    name: str
    kind: WorkerKind


@dataclass(slots=True)
class _Seen:
    at: float
    doubted: bool = False
    """True if it left, or another life spoke under its name, since it was heard last."""
    over: bool = False
    settled: frozenset[str] = frozenset()
    """The queues that its jobs were given back to since it is over."""


class Lives:
    """`doubt_s` is the silence after which a life is asked, `dead_s` that after which one that does
    not answer counts as dead. Owner: one loop."""

    def __init__(self, *, doubt_s: float, dead_s: float) -> None:
        self._doubt_s = doubt_s
        self._dead_s = dead_s
        self._since = float("-inf")
        """From when on silence counts."""
        self._seen: dict[Life, _Seen] = {}
        self._named: dict[str, set[Life]] = {}
        """The same by the worker's name."""

    def __len__(self) -> int:
        return len(self._seen)

    def hear_from(self, now: float) -> None:
        """Nothing could be heard before: silence counts from here on."""
        self._since = now

    def heard(self, heartbeat: Heartbeat, now: float) -> None:
        """A life said something, its farewell perhaps."""
        life = Life(heartbeat.worker_id, heartbeat.life, heartbeat.kind)
        if life not in self._seen:
            others = self._named.get(life.worker_id, set())
            for other in others:
                # A restart under the same name: asked at once, its jobs need not wait for the
                # silence to be long.
                self._seen[other].doubted = True
            if len(self._seen) >= LIVES_MAX or len(others) >= LIVES_OF_ONE_MAX:
                return
            self._named[life.worker_id] = others | {life}
        # A new record, not a newer time: who speaks is not over, whatever was found before.
        self._seen[life] = _Seen(now, doubted=heartbeat.leaving)

    def answered(self, life: Life, now: float) -> None:
        """A life that was asked lives. It may share its name with another: both are asked again."""
        seen = self._seen.get(life)
        if seen is not None:
            seen.at, seen.over, seen.doubted = now, False, False

    def not_there(self, life: Life) -> None:
        """Nobody listens where a life was asked."""
        seen = self._seen.get(life)
        if seen is not None:
            seen.over = True

    def settle(self, life: Life, queue: str) -> None:
        """Its jobs of one queue were given back."""
        seen = self._seen.get(life)
        if seen is not None and seen.over:
            seen.settled |= {queue}

    def unsettled(self, kind: WorkerKind, queue: str) -> list[Life]:
        """Those of a kind that are over, and may hold jobs of a queue."""
        return [
            life
            for life, seen in self._seen.items()
            if life.kind == kind and seen.over and queue not in seen.settled
        ]

    def forget(self, life: Life) -> None:
        """All that could be done for its jobs is done."""
        if self._seen.pop(life, None) is None:
            return
        left = self._named.pop(life.worker_id) - {life}
        if left:
            self._named[life.worker_id] = left

    def forget_old(self, now: float) -> None:
        """Whoever cannot be asked and said nothing for long is gone: nobody would ever say it."""
        for life, seen in list(self._seen.items()):
            if not life.name and self._silence(seen, now) >= _OLD * self._dead_s:
                self.forget(life)

    def can_judge(self, now: float) -> bool:
        """True if everybody had the time to be heard."""
        return now - self._since >= self._doubt_s

    def doubtful(self, now: float) -> list[Life]:
        """Those to be asked whether they live."""
        return [
            life
            for life, seen in self._seen.items()
            if life.name
            and not seen.over
            and (seen.doubted or self._silence(seen, now) >= self._doubt_s)
        ]

    def over(self) -> list[Life]:
        """Those that are over for certain."""
        return [life for life, seen in self._seen.items() if seen.over]

    def stuck(self, now: float) -> list[Life]:
        """Those that count as dead, and may come back."""
        return [life for life, seen in self._seen.items() if self._is_stuck(seen, now)]

    def living(self, kind: WorkerKind, now: float) -> list[Life]:
        """Those of a kind that may hold jobs and can tell of them."""
        return [
            life
            for life, seen in self._seen.items()
            if life.kind == kind and not seen.over and not self._is_stuck(seen, now)
        ]

    def speakers(self, pool: str, now: float) -> list[Life]:
        """Those of a pool that can be asked to speak with its queue."""
        return [
            life
            for life, seen in self._seen.items()
            if life.kind.pool == pool
            and life.name
            and not seen.over
            and self._silence(seen, now) < self._doubt_s
        ]

    def _is_stuck(self, seen: _Seen, now: float) -> bool:
        return not seen.over and self._silence(seen, now) >= self._dead_s

    def _silence(self, seen: _Seen, now: float) -> float:
        # Without the broker nobody is heard: its own silence must not be taken for that of workers.
        return now - max(seen.at, self._since)
