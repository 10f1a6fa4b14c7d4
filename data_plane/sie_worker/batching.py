"""The scheduler: which inputs form the next batch, and how long a batch may wait to fill.

*pure.* Time is an argument, in seconds of any monotonic clock. Not thread-safe; one owner (the
device loop). Inputs wait in lanes; a batch holds inputs of one lane only, and may mix jobs.

Promises: a batch keeps its lane's budget, and an input above the budget goes alone; nothing is
lost or doubled; inputs of a lane leave in the order in which they came, so the order within a
request is kept; an idle device gets work at once; while it is busy a batch may wait to fill, at
most `wait_s` from the arrival of its oldest input; among the lanes that may go, the one whose head
is oldest goes, so that an input that has waited is overtaken by nothing younger.

Does not know models, sockets or answers: a lane is a key, an input is a payload with a cost.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from math import inf

from sie_schemas.ipc import Input
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin

__all__ = ["Batch", "Lane", "Limits", "QueuedInput", "Scheduler"]


@dataclass(frozen=True, slots=True)
class Lane:
    """What may share a batch. `alone` is a job's id where that job must have no batch-mates."""

    model_revision: str
    profile: str
    operation: Operation
    adapter: AdapterPin | None = None
    outputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    options: bytes = b""
    alone: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The budget of one batch of a lane.

    `padded` is how the model runs: each input then costs as much as the longest of its batch.
    """

    cost_max: int
    items_max: int
    wait_s: float
    batch_invariant: bool = True
    padded: bool = False

    @property
    def count_max(self) -> int:
        """How many inputs one batch may hold: one where batch-mates change an answer."""
        return self.items_max if self.batch_invariant else 1


@dataclass(frozen=True, slots=True)
class QueuedInput:
    """One input of a job. `index` counts within the job; `deadline` is on the scheduler's clock.

    `claim` numbers one delivery of the job: the same job may come again under another number.
    """

    claim: int
    request_id: str
    index: int
    cost: int
    deadline: float
    payload: Input


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of one lane, in order, with their cost by the lane's way of running."""

    lane: Lane
    inputs: tuple[QueuedInput, ...]
    cost: int


@dataclass(slots=True)
class _Queue:
    limits: Limits
    waiting: deque[tuple[int, float, QueuedInput]] = field(default_factory=deque)
    """(sequence, arrival, input), oldest first."""
    cost: int = 0

    @property
    def is_full(self) -> bool:
        limits = self.limits
        return self.cost >= limits.cost_max or len(self.waiting) >= limits.count_max

    @property
    def may_go_at(self) -> float:
        return -inf if self.is_full else self.waiting[0][1] + self.limits.wait_s


class Scheduler:
    """Lanes, and how many batches the device has in hand.

    `ahead_max` is how many batches may be out at once: one that runs, and those that are ready
    behind it so that the device never waits for the next.
    """

    def __init__(self, *, ahead_max: int = 2) -> None:
        if ahead_max < 1:
            raise ValueError("ahead_max is at least 1: the batch that runs")
        self._ahead_max = ahead_max
        self._queues: dict[Lane, _Queue] = {}
        self._sequence = 0
        self._out = 0
        self._earliest_deadline = inf

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    @property
    def batches_out(self) -> int:
        """Batches that were handed out and are not finished."""
        return self._out

    def add(
        self, lane: Lane, limits: Limits, inputs: Collection[QueuedInput], *, now: float
    ) -> None:
        """Put inputs of one job behind those of their lane. The newest limits of a lane count."""
        if not inputs:
            return
        queue = self._queues.setdefault(lane, _Queue(limits))
        queue.limits = limits
        for item in inputs:
            self._sequence += 1
            queue.waiting.append((self._sequence, now, item))
            queue.cost += item.cost
            self._earliest_deadline = min(self._earliest_deadline, item.deadline)

    def next_batch(self, now: float) -> Batch | None:
        """The batch to run now, if any; it counts as out until `finished`."""
        if self._out >= self._ahead_max or not self._queues:
            return None
        idle = self._out == 0
        ready = [
            (queue.waiting[0][0], lane)
            for lane, queue in self._queues.items()
            if idle or queue.may_go_at <= now
        ]
        if not ready:
            return None
        _, lane = min(ready, key=lambda pair: pair[0])
        self._out += 1
        return self._take(lane)

    def wait_until(self, now: float) -> float | None:
        """When `next_batch` could first give one; None: not before an `add` or a `finished`."""
        if self._out >= self._ahead_max or not self._queues:
            return None
        if self._out == 0:
            return now
        return max(now, min(queue.may_go_at for queue in self._queues.values()))

    def finished(self) -> None:
        """A batch that was handed out is done, whatever came of it."""
        assert self._out > 0, "no batch is out"
        self._out -= 1

    def cancel(self, request_id: str) -> list[QueuedInput]:
        """Drop what waits of a request, and give it back."""
        return self._drop(lambda item: item.request_id == request_id)

    def drop_claims(self, claims: Collection[int]) -> list[QueuedInput]:
        """Drop what waits of some deliveries, and give it back."""
        return self._drop(lambda item: item.claim in claims)

    def expire(self, now: float) -> list[QueuedInput]:
        """Drop what waits past its deadline, and give it back."""
        if now < self._earliest_deadline:
            return []
        dropped = self._drop(lambda item: item.deadline <= now)
        self._earliest_deadline = min(
            (entry[2].deadline for queue in self._queues.values() for entry in queue.waiting),
            default=inf,
        )
        return dropped

    def _take(self, lane: Lane) -> Batch:
        queue = self._queues[lane]
        limits, longest, total = queue.limits, 0, 0
        taken: list[QueuedInput] = []
        while queue.waiting and len(taken) < limits.count_max:
            item = queue.waiting[0][2]
            longest = max(longest, item.cost)
            cost = longest * (len(taken) + 1) if limits.padded else total + item.cost
            if taken and cost > limits.cost_max:
                break
            queue.waiting.popleft()
            queue.cost -= item.cost
            taken.append(item)
            total = cost
        if not queue.waiting:
            del self._queues[lane]
        return Batch(lane, tuple(taken), total)

    def _drop(self, unwanted: Callable[[QueuedInput], bool]) -> list[QueuedInput]:
        dropped: list[QueuedInput] = []
        for lane, queue in list(self._queues.items()):
            gone = [entry[2] for entry in queue.waiting if unwanted(entry[2])]
            if not gone:
                continue
            queue.waiting = deque(entry for entry in queue.waiting if not unwanted(entry[2]))
            queue.cost -= sum(item.cost for item in gone)
            dropped += gone
            if not queue.waiting:
                del self._queues[lane]
        return dropped
