"""Claims: the jobs that this worker pulled and has not yet settled with the queue.

*shell*: owns the table of claims. A claim gathers the answers of its job's items, which may come
from several batches, and becomes one result. Promises that a job which is delivered again while it
is still in hand is not computed twice: the claim goes on with the newer delivery. Claims on long
work are extended until they are settled.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from sie_core.models import ResolvedAdapter
from sie_schemas.errors import SIEError
from sie_schemas.jobs import ItemFailure, Job, JobFailure, JobResult, Timing
from sie_worker.models import LoadedModel

__all__ = ["Claim", "Claims", "JobDelivery"]


class JobDelivery(Protocol):
    """One delivery of a message of the work queue."""

    @property
    def data(self) -> bytes:
        """The job's bytes."""

    @property
    def delivery_count(self) -> int:
        """1 for the first delivery."""

    @property
    def last_delivery(self) -> bool:
        """Whether the queue will not deliver it again."""

    async def ack(self) -> None:
        """Settle it: done."""

    async def retry(self, delay_s: float) -> None:
        """Give it back, to be delivered again."""

    async def extend(self) -> None:
        """Say that it is being worked on."""

    async def terminate(self) -> None:
        """Settle it: it failed for good."""


class Claim:
    """One job in hand. Owned by the event loop; settled once, by `Results`."""

    def __init__(self, number: int, job: Job, delivery: JobDelivery, *, now: float) -> None:
        self.number = number
        self.job = job
        self.delivery = delivery
        self.arrived = now
        # The job's deadline is wall time; from here on it is this process's monotonic clock.
        self.deadline = now + job.deadline - time.time()
        self.model: LoadedModel | None = None
        self.adapter: ResolvedAdapter | None = None
        self.input_tokens = 0
        self.tokenization_ms = 0.0
        self.inference_ms = 0.0
        self.queue_ms: float | None = None
        self.is_ending = False
        """Whether it is being settled: set once, by `Results`, and never taken back."""
        self._answers = [b""] * len(job.items)
        self._failures: list[ItemFailure] = []
        self._open = set(range(len(job.items)))

    @property
    def is_complete(self) -> bool:
        """Whether each item has its answer or its failure."""
        return not self._open

    @property
    def open_items(self) -> int:
        """Items without an outcome."""
        return len(self._open)

    def started(self) -> None:
        """The first batch with an item of it goes to the device now."""
        if self.queue_ms is None:
            waited_ms = (time.time() - self.job.published_at) * 1000
            self.queue_ms = max(0.0, waited_ms - self.tokenization_ms)

    def settle_item(self, index: int, outcome: bytes | SIEError) -> None:
        """Take an item's answer, or why it has none."""
        if index not in self._open:
            return
        self._open.discard(index)
        if isinstance(outcome, bytes):
            self._answers[index] = outcome
        else:
            self._failures.append(ItemFailure(index, outcome.code, outcome.message))

    def result(self, worker_id: str, failure: SIEError | None = None) -> JobResult:
        """What the gateway gets: the answers, or the failure of the whole job."""
        job = self.job
        failed = failure is not None
        return JobResult(
            job_id=job.job_id,
            request_id=job.request_id,
            first_item=job.first_item,
            answers=() if failed else tuple(self._answers),
            item_failures=() if failed else tuple(sorted(self._failures, key=lambda f: f.index)),
            failure=None
            if failure is None
            else JobFailure(failure.code, failure.message, failure.retry_after_s),
            model_revision=job.model_revision,
            adapter=job.adapter,
            timing=Timing(self.queue_ms or 0.0, self.tokenization_ms, self.inference_ms),
            input_tokens=self.input_tokens,
            worker_id=worker_id,
        )


class Claims:
    """Every claim in hand, by number and by job."""

    def __init__(self, *, settled_max: int = 4096) -> None:
        self._next = 0
        self._settled: OrderedDict[str, None] = OrderedDict()
        """Jobs whose result was confirmed lately, oldest first."""
        self._settled_max = settled_max
        self._by_number: dict[int, Claim] = {}
        self._by_job: dict[str, Claim] = {}
        self.open_items = 0
        """Items in hand that have no outcome yet: counted, because every job asks for it."""
        self.emptied = asyncio.Event()
        """Set while nothing is in hand."""
        self.emptied.set()

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Claim]:
        return iter(list(self._by_number.values()))

    def settle_item(self, claim: Claim, index: int, outcome: bytes | SIEError) -> None:
        """Take an item's answer, or why it has none."""
        before = claim.open_items
        claim.settle_item(index, outcome)
        if claim.number in self._by_number:
            self.open_items -= before - claim.open_items

    def was_settled(self, job_id: str) -> bool:
        """Whether a job that comes again was answered lately: only its acknowledgement was lost."""
        return job_id in self._settled

    def open(self, job: Job, delivery: JobDelivery, now: float) -> Claim | None:
        """Claim a job; None where it is in hand already, whose claim then goes on."""
        known = self._by_job.get(job.job_id)
        if known is not None:
            known.delivery = delivery
            return None
        self._next += 1
        claim = Claim(self._next, job, delivery, now=now)
        self._by_number[claim.number] = self._by_job[job.job_id] = claim
        self.open_items += claim.open_items
        self.emptied.clear()
        return claim

    def get(self, number: int) -> Claim | None:
        """A claim that is still in hand."""
        return self._by_number.get(number)

    def close(self, claim: Claim, *, settled: bool) -> None:
        """The queue has heard of it; `settled` unless it was given back to run again."""
        if settled:
            self._settled[claim.job.job_id] = None
            if len(self._settled) > self._settled_max:
                self._settled.popitem(last=False)
        if self._by_number.pop(claim.number, None) is not None:
            self.open_items -= claim.open_items
        self._by_job.pop(claim.job.job_id, None)
        if not self._by_number:
            self.emptied.set()

    async def extend(self, *, older_than: float) -> None:
        """Tell the queue that what was claimed before a moment is still being worked on."""
        for claim in self:
            if claim.arrived <= older_than and self.get(claim.number) is claim:
                # Without the bus the claim may lapse; the job then comes again and finds us here.
                with suppress(SIEError):
                    await claim.delivery.extend()
