"""Lanes: what may share a batch, what a batch may hold, and what waits for one.

*pure.* Values, and the queue of one lane, which keeps each tenant's inputs in the order in which
they came and knows their sum. Decides nothing: that is `batching`'s.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import TypeAlias

from msgspec import Struct

from sie_schemas.ipc import Input
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin
from sie_worker.scheduling.pacing import Pace

__all__ = ["Batch", "Lane", "LaneQueue", "Limits", "QueuedInput", "Way"]

Way: TypeAlias = tuple[str, str, Operation, bool]
"""A way of running: model revision, profile, operation, images or not. Lanes that share it share
its pace."""


class Lane(Struct, frozen=True):
    """The things that inputs must have in common to share a batch. `alone` names what must have no
    batch-mates: a job that was delivered before, or a part that is left of a batch that failed.

    `adapter` is None for the base, and for every adapter of a model that fuses them in one pass.
    `images` keeps images apart from texts: another part of the model reads them.
    """

    model_revision: str
    profile: str
    operation: Operation
    adapter: AdapterPin | None = None
    outputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    options: bytes = b""
    alone: str = ""
    images: bool = False

    @property
    def way(self) -> Way:
        """The way in which its batches run."""
        return self.model_revision, self.profile, self.operation, self.images


@dataclass(frozen=True, slots=True)
class Limits:
    """The budget of one batch of a lane.

    `padded` is how the model runs: each input then costs as much as the longest of its batch.
    `wait_s` is how long the lane may wait to fill: at first, and always without a `latency_s`. That
    is the time to aim at from an input's arrival to its answer, and the wait adapts to it.
    """

    cost_max: int
    items_max: int
    wait_s: float
    latency_s: float | None = None
    batch_invariant: bool = True
    padded: bool = False

    @property
    def count_max(self) -> int:
        """The number of inputs that one batch may hold: one where batch-mates change an answer."""
        return self.items_max if self.batch_invariant else 1


class QueuedInput(Struct, frozen=True):
    """One input of a job. `index` counts within the job; `deadline` is on the scheduler's clock.

    `hold` numbers one delivery of the job: the same job may come again under another number.
    """

    hold: int
    request_id: str
    index: int
    cost: int
    deadline: float
    payload: Input
    tenant: str = ""


class Batch(Struct, frozen=True):
    """Inputs of one lane, in order, with their cost by the lane's way of running.

    `arrived` is when the oldest of them came, `fill` the share of the budget that they use.
    """

    lane: Lane
    inputs: tuple[QueuedInput, ...]
    cost: int
    arrived: float
    fill: float


@dataclass(slots=True)
class LaneQueue:
    """The inputs that wait in one lane, by tenant. Owned by the scheduler."""

    limits: Limits
    pace: Pace
    waiting: dict[str, deque[tuple[int, float, QueuedInput]]] = field(default_factory=dict)
    """(sequence, arrival, input) of each tenant that has any, oldest first."""
    cost: int = 0
    count: int = 0

    @property
    def is_full(self) -> bool:
        """True if what waits is enough for a batch."""
        return self.cost >= self.cost_max or self.count >= self.limits.count_max

    @property
    def cost_max(self) -> float:
        """The most that a batch may hold: by its budget, and by the time that it would run."""
        return min(self.limits.cost_max, self.pace.cost_in_time)

    @property
    def oldest(self) -> float:
        """The arrival time of the input that has waited longest."""
        return min(each[0][1] for each in self.waiting.values())

    @property
    def ripe_at(self) -> float:
        """From when on the lane has waited long enough for more."""
        return -inf if self.is_full else self.oldest + self.pace.wait_s

    def heads(self) -> dict[str, int]:
        """The cost of each tenant's oldest input."""
        return {tenant: each[0][2].cost for tenant, each in self.waiting.items()}

    def add(self, sequence: int, now: float, item: QueuedInput) -> None:
        """Put an input behind those of its tenant."""
        self.waiting.setdefault(item.tenant, deque()).append((sequence, now, item))
        self.cost += item.cost
        self.count += 1

    def take(self, tenant: str) -> tuple[float, QueuedInput]:
        """The oldest input of a tenant, and when it came."""
        _, arrived, item = self.waiting[tenant].popleft()
        if not self.waiting[tenant]:
            del self.waiting[tenant]
        self.cost -= item.cost
        self.count -= 1
        return arrived, item

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
