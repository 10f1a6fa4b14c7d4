"""Dispatch: jobs out to the queue, and results in, for every request in flight.

*shell.* Owns the inbox subjects of this gateway and the table of jobs that are waited for; does not
look into answers. Promises:

- A job is answered by workers of its pool alone. The users of all pools may publish a result, and
  hear ids of jobs. So each pool has an inbox of its own, whose name its workers alone are told.
- Every result that can be read is confirmed, also one that nobody waits for.
- A request ends by its deadline.
- A request which ends without its answer is told to the workers as cancelled.
"""

import asyncio
import random
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import msgspec

from sie_gateway import metrics
from sie_gateway.request.chunks import Chunks, Misfit, NoRoom
from sie_gateway.request.runs import Run
from sie_gateway.request.waiting import Waiting, heard
from sie_runtime.broker.bus import BusUnavailable, NoResponders
from sie_runtime.broker.protocols import Incoming, ResultBus, Subscribed
from sie_schemas.errors import Later, OurFault, SIEError, TimeRanOut
from sie_schemas.jobs import (
    JOB_ENCODER,
    ONE_RESULT_DECODER,
    RESULT_DECODER,
    Job,
    JobResult,
    PayloadRef,
    ResultChunk,
    ResultReceipt,
)
from sie_schemas.malformed import MALFORMED

__all__ = [
    "Dispatcher",
    "JobQueue",
    "MessageCaps",
    "ObjectStore",
]

_PAUSE_S: Final = 0.02
"""First pause where a queue does not take a job: a few round trips of the broker."""
_PAUSE_MAX_S: Final = 0.5
"""A broker that restarts is back within seconds; the client's own time is the bound."""
_INBOX_BYTES: Final = 16
"""128 bits: nobody guesses the name of an inbox."""


class JobQueue(Protocol):
    """The part of the work queue that a gateway needs."""

    async def open(self) -> None:
        """Listen to what becomes of jobs. Called before the first is sent."""
        ...

    def send_job(
        self,
        *,
        subject: str,
        data: bytes,
        job_id: str,
        heard: Callable[[SIEError | None], None],
        stored: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """Queue a job. Raises `BusUnavailable`.

        `heard` is told what became of it: None when it is stored, else `NoResponders` where there
        is no stream, or `Later`. `stored` is told the job, and the broker's word where it is good,
        before that.
        """
        ...


class ObjectStore(Protocol):
    """The part of the payload store that a gateway needs."""

    async def put(self, object_id: str, data: bytes, *, pool: str, ttl_s: float) -> PayloadRef:
        """Store an object for a pool's workers. Raises `Later`: `BusUnavailable`, QUEUE_FULL."""
        ...

    async def drop(self, ref: PayloadRef, /) -> None:
        """Forget an object. Raises `BusUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class MessageCaps:
    """The largest job that goes as a message, and the bytes that chunked results may hold.
    `queue_wait_s` is how long a pool's queue that is not there is waited for."""

    job_bytes_max: int
    chunked_bytes_max: int
    queue_wait_s: float


class Dispatcher:
    """Runs the jobs of requests. One for each gateway process. `rng` is seeded by a simulation."""

    def __init__(
        self,
        bus: ResultBus,
        queue: JobQueue,
        *,
        gateway_id: str,
        objects: ObjectStore | None,
        caps: MessageCaps,
        rng: random.Random | None,
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._objects = objects
        self._caps = caps
        self._chunks = Chunks(bytes_max=self._caps.chunked_bytes_max)
        self._stored: dict[str, PayloadRef] = {}
        """Objects of the requests in flight, by job id."""
        self._waiting: dict[str, Run] = {}
        """By job id."""
        self.busy: Final = asyncio.Event()
        """Set while a run waits."""
        self._gateway_id = gateway_id
        self._rng = rng or secrets.SystemRandom()
        self._inboxes: dict[str, str] = {}
        """The subject of each pool's inbox, from the first request for it."""
        self._opening: dict[str, asyncio.Task[str]] = {}
        self._subscriptions: list[Subscribed] = []

    @property
    def waiting(self) -> int:
        """Jobs whose result is waited for."""
        return len(self._waiting)

    def runs(self) -> Collection[Run]:
        """Every run that waits, the oldest first."""
        return dict.fromkeys(self._waiting.values()).keys()

    async def open(self) -> None:
        """Listen to the queue. Called before the first request."""
        await self._queue.open()

    async def close(self) -> None:
        """Stop listening. Called when nothing is in flight."""
        for each in self._subscriptions:
            await each.unsubscribe()
        self._subscriptions.clear()
        self._inboxes.clear()

    async def inbox_of(self, pool: str) -> str:
        """The subject that this gateway listens on for results of a pool. Never empty."""
        inbox = self._inboxes.get(pool)
        if inbox is None:
            opening = self._opening.get(pool)
            if opening is None:
                opening = asyncio.create_task(self._opened(pool))
                self._opening[pool] = opening
            # A client that hangs up takes the inbox from nobody.
            inbox = await asyncio.shield(opening)
        return inbox

    async def _opened(self, pool: str) -> str:
        inbox = f"sie.result.{self._gateway_id}-{self._rng.randbytes(_INBOX_BYTES).hex()}"
        try:
            take = partial(self._receive, pool)
            self._subscriptions.append(await self._bus.subscribe(inbox, take))
            self._inboxes[pool] = inbox
        finally:
            del self._opening[pool]
        return inbox

    async def run(self, run: Run) -> list[JobResult]:
        """Publish jobs of one request and wait for all results, in the order of the jobs.

        Raises `TimeRanOut`, `Later` when a job cannot be queued, `ClientGone`, and `Takerless`
        where somebody found that of the run. When it ends without the results, also by
        cancellation, the workers are told.
        """
        done = False
        route, jobs, waiting = run.route, run.jobs, run.waiting
        for job in jobs:
            self._waiting[job.job_id] = run
        self.busy.set()
        try:
            results = await self._results_of(run)
            done = True
        except NoResponders as error:
            raise BusUnavailable(error.message) from error
        except TimeoutError as error:
            raise TimeRanOut(
                f"no answer from {route.model_name} within {waiting.timeout_s:g} s "
                f"(pool {route.pool}, machine profile {route.machine_profile})"
            ) from error
        finally:
            for job in jobs:
                del self._waiting[job.job_id]
                self._chunks.forget(job.job_id)
            if not self._waiting:
                self.busy.clear()
            if self._stored:
                await self._drop_objects(jobs)
            if not done:
                await self._cancel(jobs[0].request_id)
        return results

    async def _results_of(self, run: Run) -> list[JobResult]:
        """Send and wait. A queue that is not there is sent to again, for a bounded time.

        sie-config makes it, for a new pool, and for every one where the broker lost its store; or
        its stream has no leader just now. A job that the broker has stored all the same is stored
        once.
        """
        waiting, loop = run.waiting, run.waiting.loop
        gives_up_at = min(waiting.ends_at, loop.time() + self._caps.queue_wait_s)
        complete = waiting.begin([job.job_id for job in run.jobs])
        pause_s = _PAUSE_S
        while True:
            try:
                # The broker's word that a job is stored is not waited for: a result says more, and
                # a no ends the wait. Before, each job cost a round trip in turn.
                await self._send(run, run.jobs, partial(heard, complete))
                return await complete
            except NoResponders:
                if loop.time() + pause_s > gives_up_at:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)
            complete = waiting.again()

    async def send_again(self, run: Run, held: Collection[str]) -> int:
        """Store the jobs of a run that have no result, but those that are held; how many.

        One that the broker still has stays as it is. Raises `NoResponders`, `Later`,
        `TimeoutError`.
        """
        jobs = [
            job
            for job in run.jobs
            if job.job_id in self._waiting
            and job.job_id not in held
            and run.waiting.lacks(job.job_id)
        ]
        words: asyncio.Queue[SIEError | None] = asyncio.Queue()
        try:
            sent = await self._send(run, jobs, words.put_nowait, anew=True)
        finally:
            # The request may have ended while a job was stored apart: nobody else drops that.
            await self._drop_objects([job for job in jobs if job.job_id not in self._waiting])
        for _ in range(sent):
            refusal = await words.get()
            if refusal is not None:
                raise refusal
        return sent

    async def _send(
        self,
        run: Run,
        jobs: Sequence[Job],
        heard: Callable[[SIEError | None], None],
        *,
        anew: bool = False,
    ) -> int:
        """Send the jobs of a run that have no result yet; how many.

        With `anew` what stands apart may be lost, and is stored once more. Raises `TimeoutError`,
        `BusUnavailable`.
        """
        route = run.route
        messages = [JOB_ENCODER.encode(_of_now(job, run.waiting)) for job in jobs]
        apart: dict[int, Job] = {}
        for index, data in enumerate(messages):
            if len(data) > self._caps.job_bytes_max:
                if anew:
                    # Each as its turn comes: where one fails, the others are known to stand there.
                    self._stored.pop(jobs[index].job_id, None)
                async with asyncio.timeout_at(run.waiting.ends_at):
                    apart[index] = await self._stored_apart(jobs[index], data, run)
        if apart:
            # Storing took its time, from all of them.
            short = [apart.get(index, job) for index, job in enumerate(jobs)]
            messages = [JOB_ENCODER.encode(_of_now(job, run.waiting)) for job in short]
        sent = 0
        for job, data in zip(jobs, messages, strict=True):
            if job.job_id in self._waiting and run.waiting.lacks(job.job_id):
                sent += 1
                self._queue.send_job(
                    subject=route.subject,
                    data=data,
                    job_id=job.job_id,
                    heard=heard,
                    stored=run.stored,
                )
        return sent

    async def _stored_apart(self, job: Job, data: bytes, run: Run) -> Job:
        """The message that stands on the queue for a job that is larger than a message.

        A crash or an error before it is dropped leaves an object that nobody reads: its time to
        live ends it.
        """
        if self._objects is None:
            raise OurFault("a job is larger than a message and this gateway has no object store")
        ref = self._stored.get(job.job_id)
        if ref is None:
            waiting, pool = run.waiting, run.route.pool
            # By the clock that the request is timed by: a step of the other would end it at once.
            ttl_s = waiting.ends_at - waiting.loop.time()
            ref = await self._objects.put(job.job_id, data, pool=pool, ttl_s=ttl_s)
            self._stored[job.job_id] = ref
        return msgspec.structs.replace(job, v=2, items=(), query=None, options={}, payload=ref)

    async def _drop_objects(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            ref = self._stored.pop(job.job_id, None)
            if self._objects is None or ref is None:
                continue
            try:
                await self._objects.drop(ref)
            except Later:
                metrics.OBJECTS_LEFT.inc()

    async def _cancel(self, request_id: str) -> None:
        try:
            await self._bus.publish(f"sie.cancel.{request_id}", b"")
        except BusUnavailable:
            # The deadline in the jobs ends them without this.
            return

    def _receive(self, pool: str, message: Incoming) -> None:
        try:
            batch = RESULT_DECODER.decode(message.data)
        except MALFORMED:
            metrics.MALFORMED_MESSAGES.labels("result").inc()
            return
        if batch.chunk is not None:
            receipt = self._take_chunk(pool, batch.chunk)
        else:
            for result in batch.results:
                self._take(pool, result)
            # Confirmed also where nobody waits any more, or the worker would offer them until their
            # deadline.
            receipt = ResultReceipt(job_ids=tuple([result.job_id for result in batch.results]))
        message.answer(JOB_ENCODER.encode(receipt))

    def _waits(self, pool: str, job_id: str) -> Run | None:
        """The run that waits for a job, where that is a job of this pool."""
        run = self._waiting.get(job_id)
        return run if run is not None and run.route.pool == pool else None

    def _take(self, pool: str, result: JobResult) -> None:
        run = self._waits(pool, result.job_id)
        if run is None:
            metrics.RESULTS_DROPPED.inc()
        else:
            run.waiting.take(result)

    def _take_chunk(self, pool: str, chunk: ResultChunk) -> ResultReceipt:
        if self._waits(pool, chunk.job_id) is None:
            metrics.RESULTS_DROPPED.inc()
            return ResultReceipt(job_ids=(chunk.job_id,))
        try:
            whole = self._chunks.take(chunk)
            if whole is None:
                return ResultReceipt(job_ids=(), chunk=chunk.index)
            self._take(pool, ONE_RESULT_DECODER.decode(whole))
        except NoRoom:
            metrics.CHUNKS_REFUSED.inc()
            return ResultReceipt(job_ids=())
        except (Misfit, *MALFORMED):
            metrics.MALFORMED_MESSAGES.labels("result").inc()
            return ResultReceipt(job_ids=())
        return ResultReceipt(job_ids=(chunk.job_id,))


def _of_now(job: Job, waiting: Waiting) -> Job:
    """A job as it is stored now: between its moments lies what is left of the request's time.

    A worker counts that from the moment at which the broker stored it, which may not be the first.
    """
    left_s = max(0.0, waiting.ends_at - waiting.loop.time())
    return msgspec.structs.replace(job, published_at=job.deadline - left_s)
