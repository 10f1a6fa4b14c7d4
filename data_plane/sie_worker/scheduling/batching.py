"""The scheduler: which inputs form the next batch, and how long a batch may wait to fill.

*pure.* Time is an argument, in seconds of any monotonic clock. Not thread-safe; one owner (the
device loop). Inputs wait in lanes; a batch holds inputs of one lane only, and may mix jobs.

Promises:

- A batch keeps its lane's budget, and ends within the latency target as far as `pacing` tells: what
  comes meanwhile waits so long. An input above either goes alone.
- Nothing is lost or doubled. What is left of a batch that failed waits again, each part for itself
  and behind what waits.
- Inputs of a lane leave in the order in which they came, so a request keeps its order.
- An idle device gets work at once. A busy one gets its next batch just before it is free, as far as
  `pacing` tells when. It gets it sooner when a batch is full.
- A free device waits only for inputs that are on their way, as `gathering` bounds it. It waits only
  where all that waits is worth it.

Which lane: one that is full or *ripe*; of those the one with the oldest head; if none is, the
oldest. A lane is ripe when its oldest input has waited as long as the lane may wait to fill. That
wait adapts to the profile's latency target and is never above it. So nothing younger overtakes an
input that has waited for the target.

Tenants take turns by cost (`fairness`), between lanes and within one; all order is then that of one
tenant's inputs. While several send, batches are cut to `slice_s`, as far as the pace tells, and
none is ready behind the one that runs. So a tenant with little waits for the rest of one short
batch.

Lanes whose model is `absent` from the device gather inputs and give no batch; for the promises
above they are not there. `loading` brings models back.

Does not know models, sockets or answers: a lane is a key, an input is a payload with a cost.
"""

from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from msgspec.structs import replace

from sie_worker.scheduling.fairness import Senders, Turns
from sie_worker.scheduling.gathering import Gathering
from sie_worker.scheduling.lanes import Batch, Lane, LaneQueue, Limits, QueuedInput, Way
from sie_worker.scheduling.pacing import Pace

__all__ = ["Scheduler"]

_PACES_MAX: Final = 1024
"""Ways of running whose pace is remembered; revisions come and go for as long as a worker lives."""
_MARGIN: Final = 0.1
"""Share of the time that is expected until the device is free, by which the next batch is early."""


@dataclass(frozen=True, slots=True)
class _Out:
    """A batch that was handed over, and how long it is expected to run (None: nobody knows)."""

    batch: Batch
    limits: Limits
    pace: Pace
    since: float
    expected_s: float | None


class Scheduler:
    """Lanes, and how many batches the device has in hand.

    `ahead_max` is how many batches may be out at once. One runs, and the others are ready behind it
    so that the device never waits for the next. `handover_s` is what it takes to hand a batch over.
    `tenant_quantum` is the cost that a tenant may take in a turn while others wait. `slice_s` is
    how long a batch may run while several tenants send. `gathering` is shared by the schedulers of
    a worker; without it no device waits for what is on its way.
    """

    def __init__(
        self,
        *,
        ahead_max: int,
        tenant_quantum: int,
        handover_s: float,
        slice_s: float,
        gathering: Gathering | None,
    ) -> None:
        if ahead_max < 1:
            raise ValueError("ahead_max is at least 1: the batch that runs")
        self._ahead_max = ahead_max
        self._handover_s = handover_s
        self._slice_s = slice_s
        self._senders = Senders()
        self._gathering = gathering
        if gathering is not None:
            gathering.join(self)
        self._queues: dict[Lane, LaneQueue] = {}
        self._paces: dict[Way, Pace] = {}
        """The most recently used last."""
        self._turns = Turns(quantum=tenant_quantum)
        self._sequence = 0
        self._out: list[_Out] = []
        """In the order in which they were handed over, which is that in which they run."""
        self._last_end = -inf
        self._earliest_deadline = inf

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return sum(queue.count for queue in self._queues.values())

    def waiting_of(self, way: Way) -> int | None:
        """Inputs of one way of running that are in no batch; None where none was ever here."""
        if way not in self._paces:
            return None
        return sum(queue.count for lane, queue in self._queues.items() if lane.way == way)

    @property
    def cost_in_hand(self) -> int:
        """Cost of what waits and of the batches that are out."""
        waiting = sum(queue.cost for queue in self._queues.values())
        return waiting + sum(out.batch.cost for out in self._out)

    def holds(self) -> set[int]:
        """The deliveries of which something waits."""
        return {
            entry[2].hold
            for queue in self._queues.values()
            for entries in queue.waiting.values()
            for entry in entries
        }

    def revisions(self) -> set[str]:
        """The model revisions of which something waits."""
        return {lane.model_revision for lane in self._queues}

    def oldest_by_revision(self) -> dict[str, float]:
        """Of each of these, since when the oldest input waits."""
        oldest: dict[str, float] = {}
        for lane, queue in self._queues.items():
            revision = lane.model_revision
            oldest[revision] = min(oldest.get(revision, inf), queue.oldest)
        return oldest

    def waiting_for(self, revision: str) -> list[QueuedInput]:
        """The inputs that wait of a model revision."""
        return [
            entry[2]
            for lane, queue in self._queues.items()
            if lane.model_revision == revision
            for entries in queue.waiting.values()
            for entry in entries
        ]

    @property
    def revisions_out(self) -> set[str]:
        """The model revisions of the batches that are out."""
        return {out.batch.lane.model_revision for out in self._out}

    @property
    def batches_out(self) -> int:
        """Batches that were handed out and are not finished."""
        return len(self._out)

    def oldest_age(self, now: float) -> float:
        """The wait of the input that has waited longest; 0 where nothing waits."""
        return now - min((queue.oldest for queue in self._queues.values()), default=now)

    def add(
        self, lane: Lane, limits: Limits, inputs: Collection[QueuedInput], *, now: float
    ) -> None:
        """Put inputs of one job behind those of their lane. The newest limits of a lane count."""
        if not inputs:
            return
        if self._gathering is not None:
            self._gathering.returns.came(lane.way, len(inputs), now)
        self._put(lane, limits, inputs, arrived=now, now=now)

    def next_batch(self, now: float, *, absent: Container[str] = ()) -> Batch | None:
        """The batch to run now, if any; it counts as out until `finished`."""
        if self._is_taken(now):
            return None
        free_at = self._free_at()
        # A tenant's best lane: one that is full or ripe first, then by age.
        best: dict[str, tuple[bool, int, int, Lane]] = {}
        for lane, queue in self._queues.items():
            if lane.model_revision in absent or self._may_go_at(lane, queue, free_at, now) > now:
                continue
            # Ripe counts as full does. Beside a crowd, whose lane is always full, a lane with
            # little in it was never served.
            unripe = queue.ripe_at > now
            for tenant, entries in queue.waiting.items():
                sequence, _, item = entries[0]
                if tenant not in best or (unripe, sequence) < best[tenant][:2]:
                    best[tenant] = (unripe, sequence, item.cost, lane)
        if not best:
            return None
        tenant = self._turns.pick({name: cost for name, (_, _, cost, _) in best.items()})
        queue = self._queues[best[tenant][3]]
        batch = self._take(best[tenant][3], self._slice_s if self._is_sliced(now) else inf)
        expected_s = queue.pace.expected_s(batch.cost)
        self._out.append(_Out(batch, queue.limits, queue.pace, now, expected_s))
        return batch

    def wait_until(self, now: float, *, absent: Container[str] = ()) -> float | None:
        """The time at which `next_batch` could first give one; None: not before an `add`, a
        `finished` or a model that comes."""
        if self._is_taken(now):
            return None
        free_at = self._free_at()
        due = [
            self._may_go_at(lane, queue, free_at, now)
            for lane, queue in self._queues.items()
            if lane.model_revision not in absent
        ]
        return max(now, min(due)) if due else None

    def finished(
        self,
        batch: Batch,
        now: float,
        *,
        answered: bool = True,
        left: Sequence[Sequence[QueuedInput]] = (),
    ) -> None:
        """A batch that was handed out is done; only one that was answered tells of the pace.

        The parts of it that are `left` wait again, behind what waits and each for itself.
        """
        place = next(index for index, out in enumerate(self._out) if out.batch is batch)
        out = self._out.pop(place)
        if answered and not left:
            # Only from the end of the one before it: handed over ahead, it waited at the device
            # till then.
            took_s = now - max(out.since, self._last_end)
            out.pace.ran(max(1, batch.cost), took_s)
            out.pace.answered(now - batch.arrived)
            if self._gathering is not None:
                self._gathering.returns.answered(batch.lane.way, len(batch.inputs), now)
        self._last_end = now
        for part in left:
            # Inputs that cannot run are among them, and whoever shares their batch runs again.
            lane = replace(batch.lane, alone=f"{part[0].hold} {part[0].index}")
            self._put(lane, out.limits, part, arrived=batch.arrived, now=now)

    def cancel(self, request_id: str) -> list[QueuedInput]:
        """Drop what waits of a request, and give it back."""
        return self._drop(lambda item: item.request_id == request_id)

    def drop_holds(self, holds: Collection[int]) -> list[QueuedInput]:
        """Drop what waits of some deliveries, and give it back."""
        return self._drop(lambda item: item.hold in holds)

    def expire(self, now: float) -> list[QueuedInput]:
        """Drop what waits past its deadline, and give it back."""
        # Never later than the true one (what was taken may have held it): it saves a walk over all
        # inputs at each turn.
        if now < self._earliest_deadline:
            return []
        dropped = self._drop(lambda item: item.deadline <= now)
        self._earliest_deadline = min(
            (
                entry[2].deadline
                for queue in self._queues.values()
                for entries in queue.waiting.values()
                for entry in entries
            ),
            default=inf,
        )
        return dropped

    def _put(
        self,
        lane: Lane,
        limits: Limits,
        inputs: Collection[QueuedInput],
        *,
        arrived: float,
        now: float,
    ) -> None:
        queue = self._queues.get(lane)
        if queue is None:
            queue = self._queues[lane] = LaneQueue(limits, self._pace(lane, limits))
        queue.limits = limits
        for item in inputs:
            self._sequence += 1
            queue.add(self._sequence, arrived, item)
            self._turns.joined(item.tenant, 1)
            self._senders.sent(item.tenant, now)
            self._earliest_deadline = min(self._earliest_deadline, item.deadline)

    def _pace(self, lane: Lane, limits: Limits) -> Pace:
        """The pace that is remembered of a lane's way of running, which many lanes may share."""
        pace = self._paces.pop(lane.way, None) or Pace(limits.wait_s, limits.latency_s)
        self._paces[lane.way] = pace
        if len(self._paces) > _PACES_MAX:
            del self._paces[next(iter(self._paces))]
        return pace

    def _free_at(self) -> float | None:
        """The time at which the device should have run what it has; None where nobody can tell."""
        free_at = self._last_end
        for out in self._out:
            if out.expected_s is None:
                return None
            # One runs behind the other: handed over ahead, it begins where the one before it ends.
            free_at = max(free_at, out.since) + out.expected_s
        return free_at

    def _is_sliced(self, now: float) -> bool:
        return self._slice_s < inf and self._senders.several(now)

    def _is_taken(self, now: float) -> bool:
        """True if the device has all the batches that it may have."""
        # A batch cannot be interrupted: a small tenant waits for the one that runs and the one that
        # is ready behind it. Both short cost a flood a fifth of its rate where the price is a fifth
        # of a batch.
        return len(self._out) >= (1 if self._is_sliced(now) else self._ahead_max)

    def _may_go_at(self, lane: Lane, queue: LaneQueue, free_at: float | None, now: float) -> float:
        if queue.is_full:
            return -inf
        if free_at is None:
            return queue.ripe_at
        gathered_at = self._gathered_at(lane, queue, free_at, now)
        if not self._out or gathered_at > max(now, free_at):
            return gathered_at
        began = self._out[0].since
        # Sooner gains nothing, since the device is busy, and costs fill: what comes meanwhile would
        # miss it.
        return free_at - self._handover_s - _MARGIN * (free_at - began)

    def _gathered_at(self, lane: Lane, queue: LaneQueue, free_at: float, now: float) -> float:
        """The time by which what is due of a lane should be here, if the device is to wait."""
        if self._gathering is None:
            return -inf
        running = sum(len(out.batch.inputs) for out in self._out if out.batch.lane.way == lane.way)
        return self._gathering.until(self, lane.way, queue, now, running=running, free_at=free_at)

    def _take(self, lane: Lane, within_s: float) -> Batch:
        queue = self._queues[lane]
        limits = queue.limits
        cost_max = min(queue.cost_max, queue.pace.cost_within(within_s))
        longest, total, oldest = 0, 0, inf
        taken: list[QueuedInput] = []
        while queue.waiting and len(taken) < limits.count_max:
            tenant = self._turns.pick(queue.heads())
            item = queue.waiting[tenant][0][2]
            longest = max(longest, item.cost)
            # Padded, a batch is a rectangle. Counted as the sum of its texts it did not fit the
            # device.
            cost = longest * (len(taken) + 1) if limits.padded else total + item.cost
            # The first goes whatever it costs: it would not cost less in a later batch.
            if taken and cost > cost_max:
                break
            arrived, item = queue.take(tenant)
            taken.append(item)
            oldest = min(oldest, arrived)
            self._turns.served(tenant, item.cost)
            # With its last input a tenant leaves the ring: else each name that was ever sent under
            # is kept, and all others wait for its turns.
            self._turns.left(tenant, 1)
            total = cost
        if not queue.waiting:
            del self._queues[lane]
        fill = max(total / limits.cost_max, len(taken) / limits.count_max)
        return Batch(lane, tuple(taken), total, oldest, min(1.0, fill))

    def _drop(self, unwanted: Callable[[QueuedInput], bool]) -> list[QueuedInput]:
        dropped: list[QueuedInput] = []
        for lane, queue in list(self._queues.items()):
            gone = queue.drop(unwanted)
            for item in gone:
                # As when it is served: others paid for the turns of clients that had hung up.
                self._turns.left(item.tenant, 1)
            dropped += gone
            if not queue.waiting:
                del self._queues[lane]
        return dropped
