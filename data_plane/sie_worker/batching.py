"""The scheduler: which inputs form the next batch, and how long a batch may wait to fill.

*pure.* Time is an argument, in seconds of any monotonic clock. Not thread-safe; one owner (the
device loop). Inputs wait in lanes; a batch holds inputs of one lane only, and may mix jobs.

Promises: a batch keeps its lane's budget, and an input above the budget goes alone; nothing is
lost or doubled; inputs of a lane leave in the order in which they came, so the order within a
request is kept; an idle device gets work at once; while it is busy a batch may wait to fill, at
most `wait_s` from the arrival of its oldest input; among the lanes that may go, the one whose head
is oldest goes, so that an input that has waited is overtaken by nothing younger. Tenants take turns
by cost (`fairness`), between lanes and within one; all order is then that of one tenant's inputs.

Does not know models, sockets or answers: a lane is a key, an input is a payload with a cost.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from math import inf

from sie_schemas.ipc import Input
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin
from sie_worker.fairness import Turns

__all__ = ["Batch", "Lane", "Limits", "QueuedInput", "Scheduler"]


@dataclass(frozen=True, slots=True)
class Lane:
    """What may share a batch. `alone` is a job's id where that job must have no batch-mates.

    `adapter` is None for the base, and for every adapter of a model that fuses them in one pass.
    """

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
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of one lane, in order, with their cost by the lane's way of running."""

    lane: Lane
    inputs: tuple[QueuedInput, ...]
    cost: int


@dataclass(slots=True)
class _Queue:
    limits: Limits
    waiting: dict[str, deque[tuple[int, float, QueuedInput]]] = field(default_factory=dict)
    """(sequence, arrival, input) of each tenant that has any, oldest first."""
    cost: int = 0
    count: int = 0

    @property
    def is_full(self) -> bool:
        limits = self.limits
        return self.cost >= limits.cost_max or self.count >= limits.count_max

    @property
    def may_go_at(self) -> float:
        if self.is_full:
            return -inf
        return min(each[0][1] for each in self.waiting.values()) + self.limits.wait_s

    def heads(self) -> dict[str, int]:
        """The cost of each tenant's oldest input."""
        return {tenant: each[0][2].cost for tenant, each in self.waiting.items()}

    def add(self, sequence: int, now: float, item: QueuedInput) -> None:
        """Put an input behind those of its tenant."""
        self.waiting.setdefault(item.tenant, deque()).append((sequence, now, item))
        self.cost += item.cost
        self.count += 1

    def take(self, tenant: str) -> QueuedInput:
        """The oldest input of a tenant."""
        item = self.waiting[tenant].popleft()[2]
        if not self.waiting[tenant]:
            del self.waiting[tenant]
        self.cost -= item.cost
        self.count -= 1
        return item

    def drop(self, unwanted: Callable[[QueuedInput], bool]) -> list[QueuedInput]:
        """Take out what is not wanted."""
        gone: list[QueuedInput] = []
        for tenant, entries in list(self.waiting.items()):
            kept = deque(entry for entry in entries if not unwanted(entry[2]))
            if len(kept) < len(entries):
                gone += [entry[2] for entry in entries if unwanted(entry[2])]
                self.waiting[tenant] = kept
            if not kept:
                del self.waiting[tenant]
        self.cost -= sum(item.cost for item in gone)
        self.count -= len(gone)
        return gone


class Scheduler:
    """Lanes, and how many batches the device has in hand.

    `ahead_max` is how many batches may be out at once: one that runs, and those that are ready
    behind it so that the device never waits for the next. `tenant_quantum` is the cost that a
    tenant may take in a turn while others wait.
    """

    def __init__(self, *, ahead_max: int = 2, tenant_quantum: int = 512) -> None:
        if ahead_max < 1:
            raise ValueError("ahead_max is at least 1: the batch that runs")
        self._ahead_max = ahead_max
        self._queues: dict[Lane, _Queue] = {}
        self._turns = Turns(quantum=tenant_quantum)
        self._sequence = 0
        self._out = 0
        self._earliest_deadline = inf

    @property
    def waiting(self) -> int:
        """Inputs that are in no batch yet."""
        return sum(queue.count for queue in self._queues.values())

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
            queue.add(self._sequence, now, item)
            self._turns.joined(item.tenant, 1)
            self._earliest_deadline = min(self._earliest_deadline, item.deadline)

    def next_batch(self, now: float) -> Batch | None:
        """The batch to run now, if any; it counts as out until `finished`."""
        if self._out >= self._ahead_max or not self._queues:
            return None
        idle = self._out == 0
        oldest: dict[str, tuple[int, int, Lane]] = {}
        for lane, queue in self._queues.items():
            if not idle and queue.may_go_at > now:
                continue
            for tenant, entries in queue.waiting.items():
                sequence, _, item = entries[0]
                if tenant not in oldest or sequence < oldest[tenant][0]:
                    oldest[tenant] = (sequence, item.cost, lane)
        if not oldest:
            return None
        tenant = self._turns.pick({name: cost for name, (_, cost, _) in oldest.items()})
        self._out += 1
        return self._take(oldest[tenant][2])

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
            (
                entry[2].deadline
                for queue in self._queues.values()
                for entries in queue.waiting.values()
                for entry in entries
            ),
            default=inf,
        )
        return dropped

    def _take(self, lane: Lane) -> Batch:
        queue = self._queues[lane]
        limits, longest, total = queue.limits, 0, 0
        taken: list[QueuedInput] = []
        while queue.waiting and len(taken) < limits.count_max:
            tenant = self._turns.pick(queue.heads())
            item = queue.waiting[tenant][0][2]
            longest = max(longest, item.cost)
            cost = longest * (len(taken) + 1) if limits.padded else total + item.cost
            if taken and cost > limits.cost_max:
                break
            taken.append(queue.take(tenant))
            self._turns.served(tenant, item.cost)
            self._turns.left(tenant, 1)
            total = cost
        if not queue.waiting:
            del self._queues[lane]
        return Batch(lane, tuple(taken), total)

    def _drop(self, unwanted: Callable[[QueuedInput], bool]) -> list[QueuedInput]:
        dropped: list[QueuedInput] = []
        for lane, queue in list(self._queues.items()):
            gone = queue.drop(unwanted)
            for item in gone:
                self._turns.left(item.tenant, 1)
            dropped += gone
            if not queue.waiting:
                del self._queues[lane]
        return dropped
