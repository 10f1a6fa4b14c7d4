"""Holds: the jobs that this worker pulled and has not yet settled with the queue.

*shell*: owns the table of holds. A hold gathers the answers of its job's items, which may come from
several batches, and becomes one result. Promises that a job which is delivered again while it is
still in hand is not computed twice. The hold goes on with the newer delivery. Holds on long work
are extended until they are settled.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from sie_core.resolver import ResolvedAdapter
from sie_runtime.process.spans import Span
from sie_runtime.process.tracing import begin_span
from sie_runtime.streams.deliveries import Delivery
from sie_schemas.errors import SIEError
from sie_schemas.jobs import ItemFailure, Job, JobFailure, JobResult, Timing
from sie_worker.execution.models import LoadedModel

__all__ = ["Hold", "Holds"]

_SETTLED_MAX: Final = 4096
"""Of 30 s, after which a job whose acknowledgement was lost comes again, at 136 jobs a second. One
that was forgotten is run again for nobody; an id is some hundred bytes of memory."""


class Hold:
    """One job in hand. Owned by the event loop; settled once, by `Results`."""

    __slots__ = (
        "_answers",
        "_failures",
        "adapter",
        "age_s",
        "arrived",
        "deadline",
        "delivery",
        "inference_ms",
        "input_tokens",
        "is_ending",
        "job",
        "model",
        "number",
        "open_items",
        "queue_ms",
        "span",
        "tokenization_ms",
    )

    def __init__(
        self,
        number: int,
        job: Job,
        delivery: Delivery,
        *,
        now: float,
        age_s: float,
    ) -> None:
        """`age_s` is how long ago the broker stored the job."""
        self.number = number
        self.age_s = age_s
        self.job = job
        self.delivery = delivery
        self.arrived = now
        # Both moments are of the gateway's clock: only what lies between them means anything here.
        self.deadline = now + job.deadline - job.published_at - age_s
        self.span = _span_of(job, delivery) if job.trace else None
        self.model: LoadedModel | None = None
        self.adapter: ResolvedAdapter | None = None
        self.input_tokens = 0
        self.tokenization_ms = 0.0
        self.inference_ms = 0.0
        self.queue_ms: float | None = None
        self.is_ending = False
        """True if it is being settled: set once, by `Results`, and never taken back."""
        self.open_items = len(job.items)
        """Items without an outcome."""
        self._answers: list[bytes | None] = [None] * len(job.items)
        """None where an item has no outcome yet, no bytes where it failed."""
        self._failures: list[ItemFailure] = []

    @property
    def is_complete(self) -> bool:
        """True if each item has its answer or its failure."""
        return not self.open_items

    def started(self, now: float) -> None:
        """The first batch with an item of it goes to the device now."""
        if self.queue_ms is None:
            waited_ms = (self.age_s + now - self.arrived) * 1000
            self.queue_ms = max(0.0, waited_ms - self.tokenization_ms)

    def settle_item(self, index: int, outcome: bytes | SIEError) -> bool:
        """Take an item's answer, or why it has none. Whether it had neither before."""
        if self._answers[index] is not None:
            return False
        self.open_items -= 1
        if isinstance(outcome, bytes):
            self._answers[index] = outcome
        else:
            self._answers[index] = b""
            self._failures.append(ItemFailure(index, outcome.code, outcome.message))
        return True

    def result(self, worker_id: str, failure: SIEError | None = None) -> JobResult:
        """The result that the gateway gets: the answers, or the failure of the whole job."""
        job = self.job
        failed = failure is not None
        return JobResult(
            job_id=job.job_id,
            request_id=job.request_id,
            first_item=job.first_item,
            answers=() if failed else tuple([answer or b"" for answer in self._answers]),
            item_failures=() if failed else self._failures_in_order(),
            failure=None
            if failure is None
            else JobFailure(failure.code, failure.message, failure.retry_after_s, failure.field),
            model_revision=job.model_revision,
            adapter=job.adapter,
            timing=Timing(self.queue_ms or 0.0, self.tokenization_ms, self.inference_ms),
            input_tokens=self.input_tokens,
            worker_id=worker_id,
        )

    def _failures_in_order(self) -> tuple[ItemFailure, ...]:
        if not self._failures:
            return ()
        return tuple(sorted(self._failures, key=lambda failure: failure.index))


def _span_of(job: Job, delivery: Delivery) -> Span | None:
    """Each delivery of a traced job is a span of its own, of one trace."""
    return begin_span(
        "job",
        "consumer",
        parent=job.trace,
        attributes={
            "sie.job_id": job.job_id,
            "sie.model": job.model_id,
            "sie.delivery": delivery.delivery_count,
            "sie.items": len(job.items),
        },
    )


def _end(hold: Hold, span: Span, *, settled: bool) -> None:
    hold.span = None
    span.tell("sie.queue_ms", hold.queue_ms or 0.0)
    span.tell("sie.tokenization_ms", hold.tokenization_ms)
    span.tell("sie.inference_ms", hold.inference_ms)
    span.end("" if settled else "given back")


class Holds:
    """Every hold, by number and by job.

    `on_room` is called when fewer items than before have no outcome: more jobs can be taken.
    `age_s` tells how long ago the broker stored what it stored at a moment of its own clock.
    """

    def __init__(
        self,
        *,
        on_room: Callable[[], None],
        age_s: Callable[[float], float],
        settled_max: int = _SETTLED_MAX,
    ) -> None:
        self._on_room = on_room
        self._age_s = age_s
        self._next = 0
        self._settled: OrderedDict[str, None] = OrderedDict()
        """Jobs whose result was confirmed lately, oldest first."""
        self._settled_max = settled_max
        self._by_number: dict[int, Hold] = {}
        self._by_job: dict[str, Hold] = {}
        self.open_items = 0
        """Items in hand that have no outcome yet: counted, because every job asks for it."""
        self.emptied = asyncio.Event()
        """Set while nothing is in hand."""
        self.emptied.set()

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Hold]:
        return iter(list(self._by_number.values()))

    def settle_items(self, outcomes: Iterable[tuple[Hold, int, bytes | SIEError]]) -> None:
        """Take the answers of items, or why they have none."""
        before = self.open_items
        for hold, index, outcome in outcomes:
            # A batch may end after its hold was closed, when its items were counted out.
            if hold.settle_item(index, outcome) and hold.number in self._by_number:
                self.open_items -= 1
        self._tell_room(before)

    def was_settled(self, job_id: str) -> bool:
        """True if a job that comes again was answered lately: only its acknowledgement was lost."""
        return job_id in self._settled

    def open(self, job: Job, delivery: Delivery, now: float) -> Hold | None:
        """Hold a job; None where it is in hand already, whose hold then goes on."""
        # The newer delivery is the one that the queue waits for; a word on the older is void.
        known = self._by_job.get(job.job_id)
        if known is not None:
            known.delivery = delivery
            return None
        self._next += 1
        hold = Hold(self._next, job, delivery, now=now, age_s=self._age_s(delivery.stored_at))
        self._by_number[hold.number] = self._by_job[job.job_id] = hold
        self.open_items += hold.open_items
        self.emptied.clear()
        return hold

    def has(self, job_id: str) -> bool:
        """True if a job is in hand."""
        return job_id in self._by_job

    def get(self, number: int) -> Hold | None:
        """A hold that was not closed."""
        return self._by_number.get(number)

    def close(self, holds: Iterable[Hold], *, settled: bool) -> None:
        """The queue hears of them now; `settled` unless they are given back to run again."""
        before = self.open_items
        for hold in holds:
            if settled:
                self._settled[hold.job.job_id] = None
            if self._by_number.pop(hold.number, None) is not None:
                self.open_items -= hold.open_items
            self._by_job.pop(hold.job.job_id, None)
            if hold.span is not None:
                _end(hold, hold.span, settled=settled)
        while len(self._settled) > self._settled_max:
            self._settled.popitem(last=False)
        if not self._by_number:
            self.emptied.set()
        self._tell_room(before)

    def extend(self, *, older_than: float) -> None:
        """Tell the queue that what was pulled before a moment is still being worked on.

        Without the bus a hold may lapse; its job then comes again and finds us here.
        """
        for hold in self._by_number.values():
            if hold.arrived <= older_than:
                hold.delivery.extend()

    def _tell_room(self, before: int) -> None:
        if self.open_items < before:
            self._on_room()
