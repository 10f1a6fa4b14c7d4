"""The queue of a replica: its events, bounded, taken many at a time.

*shell.* Anybody on the loop puts, one task takes. Promises:

- Putting never waits.
- What does not fit is refused and counted, so that whoever brought it can say that it is lost.
- Entries that came one after the other are taken as one range: a burst is one swap of the resolver.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter

from sie_core.replica.events import EntryArrived, Event, RangeArrived
from sie_schemas.entry import Entry

__all__ = ["ReplicaQueue"]

_AT_ONCE: Final = 500
"""Messages folded in one turn: a flood of 100,000 leaves the loop between them."""
_DROPPED = Counter("sie_replica_events_dropped_total", "Events that did not fit the queue.")


class ReplicaQueue:
    """Owner: a follower. At most `events_max` wait, and the answer to the one fetch under way."""

    def __init__(self, events_max: int) -> None:
        self._events_max = events_max
        self._waiting: deque[Event] = deque()
        self._taker: asyncio.Future[None] | None = None

    def offer(self, event: Event) -> bool:
        """Put it behind the others. False when there is no room: then it is not taken."""
        if len(self._waiting) >= self._events_max:
            _DROPPED.inc()
            return False
        self.put(event)
        return True

    def put(self, event: Event) -> None:
        """The same whatever waits: without the answer to a fetch, nothing is fetched again."""
        self._waiting.append(event)
        taker = self._taker
        if taker is not None and not taker.done():
            taker.set_result(None)

    async def take(self) -> list[Event]:
        """Take what waits, in its order; wait for a first one. For one task."""
        waiting = self._waiting
        while not waiting:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        return _merged([waiting.popleft() for _ in range(min(len(waiting), _AT_ONCE))])


def _merged(events: Iterable[Event]) -> list[Event]:
    """The same events, each run of single entries as one range."""
    merged: list[Event] = []
    run: list[Entry] = []
    for event in events:
        if isinstance(event, EntryArrived):
            run.append(event.entry)
            continue
        if run:
            merged.append(RangeArrived(0, tuple(run)))
            run = []
        merged.append(event)
    if run:
        merged.append(RangeArrived(0, tuple(run)))
    return merged
