"""Results: how a claim ends.

*shell*: speaks to the gateways' inboxes and to the queue. A batch's results for one gateway go as
one message; a job is acknowledged only after its gateway has confirmed it. Promises that a result
is kept and offered again, at a bounded pace, until the job's deadline: a gateway that is gone or
reconnecting never makes a job run again. A result above the limit of a message goes as chunks, each
confirmed before the next. A job that fails on its last delivery has a dead letter written before it
is terminated. A job that is past its deadline, or whose client left, is acknowledged
without a result.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from sie_schemas.errors import FixRequest, OurFault, SIEError, error_for
from sie_schemas.jobs import (
    RECEIPT_DECODER,
    JobFailure,
    JobResult,
    ResultBatch,
    ResultChunk,
    ResultReceipt,
)
from sie_worker import metrics
from sie_worker.chunking import chunks_of
from sie_worker.claims import Claim, Claims, JobDelivery

__all__ = ["DeadLetterBox", "Requests", "Results"]

_LOG: Final = logging.getLogger(__name__)
_ENCODER: Final = msgspec.msgpack.Encoder()
_ANSWERED: Final = metrics.JOBS.labels(outcome="answered")
_FAILED: Final = metrics.JOBS.labels(outcome="failed")


class Requests(Protocol):
    """The part of the bus that results need."""

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send and await the one answer. Raises `SIEError`."""


class DeadLetterBox(Protocol):
    """Where the letters of jobs that failed for good are kept."""

    async def write(self, claim: Claim, result: JobResult) -> None:
        """Keep the letter of a job. Raises `SIEError`."""


class Results:
    """Settles claims. One owner: the event loop of this process."""

    def __init__(
        self,
        bus: Requests,
        claims: Claims,
        *,
        worker_id: str,
        confirm_timeout_s: float,
        retry_s: float,
        message_bytes_max: int,
        chunked_bytes_max: int,
        dead_letters: DeadLetterBox,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._claims = claims
        self._worker_id = worker_id
        self._confirm_timeout_s = confirm_timeout_s
        self._retry_s = retry_s
        self._message_bytes_max = message_bytes_max
        self._chunked_bytes_max = chunked_bytes_max
        self._dead_letters = dead_letters
        self._clock = clock
        self.answered = 0
        """Jobs whose result a gateway has confirmed, since the start."""

    async def deliver(self, claims: Sequence[Claim]) -> None:
        """Deliver the answers of complete claims, and acknowledge what is confirmed."""
        ending = _begin(claims)
        await self._deliver([(claim, claim.result(self._worker_id)) for claim in ending])

    async def fail(self, claims: Sequence[Claim], error: SIEError) -> None:
        """Deliver the failure of whole jobs, and acknowledge what is confirmed."""
        ending = _begin(claims)
        await self._deliver([(claim, claim.result(self._worker_id, error)) for claim in ending])

    async def drop(self, claim: Claim) -> None:
        """Nobody waits for it: acknowledge without a result."""
        for ending in _begin([claim]):
            await self._drop(ending)

    async def give_back(
        self, claims: Sequence[Claim], error: SIEError, *, delay_s: float, blamed: bool = False
    ) -> None:
        """Let the queue deliver them again; a last delivery is answered with the failure instead.

        `blamed`: they were in the batch that was lost, and may be why.
        """
        if blamed:
            last_error: SIEError = OurFault(
                f"given up after the last try: {error.message}", code="INFERENCE_ERROR"
            )
        else:
            last_error = error
        ending = _begin(claims)
        last = [claim for claim in ending if claim.delivery.last_delivery]
        for claim in ending:
            if claim not in last:
                metrics.JOBS.labels(outcome="given_back").inc()
                await self._settle(claim, lambda queue: queue.retry(delay_s), settled=False)
        await self._deliver(
            [(claim, claim.result(self._worker_id, last_error)) for claim in last], for_good=True
        )

    async def _drop(self, claim: Claim) -> None:
        metrics.JOBS.labels(outcome="dropped").inc()
        await self._settle(claim, lambda queue: queue.ack())

    async def _deliver(
        self, results: Sequence[tuple[Claim, JobResult]], *, for_good: bool = False
    ) -> None:
        by_inbox: dict[str, list[tuple[Claim, JobResult]]] = {}
        for claim, result in results:
            by_inbox.setdefault(claim.job.reply_to, []).append((claim, result))
        sending: list[Coroutine[Any, Any, None]] = []
        for inbox, pairs in by_inbox.items():
            whole, large = self._messages(pairs)
            sending += [self._confirm(inbox, part, for_good=for_good) for part in whole]
            sending += [self._confirm_chunked(inbox, *pair, for_good=for_good) for pair in large]
        if len(sending) == 1:
            # As nearly always: a batch of small results for one gateway needs no other task.
            await sending[0]
            return
        async with asyncio.TaskGroup() as group:
            for each in sending:
                group.create_task(each)

    def _messages(
        self, pairs: Iterable[tuple[Claim, JobResult]]
    ) -> tuple[list[list[tuple[Claim, JobResult]]], list[tuple[Claim, JobResult]]]:
        """Cut the results for one inbox so that each message is under the broker's limit.

        The second part has those that are above it by themselves.
        """
        parts: list[list[tuple[Claim, JobResult]]] = []
        large: list[tuple[Claim, JobResult]] = []
        size = 0
        for claim, made in pairs:
            result = made
            length = len(_ENCODER.encode(result))
            if length > self._chunked_bytes_max:
                result = claim.result(self._worker_id, _too_large(length, self._chunked_bytes_max))
                length = len(_ENCODER.encode(result))
            if length > self._message_bytes_max:
                large.append((claim, result))
                continue
            if not parts or size + length > self._message_bytes_max:
                parts.append([])
                size = 0
            parts[-1].append((claim, result))
            size += length
        return parts, large

    async def _confirm_chunked(
        self, inbox: str, claim: Claim, result: JobResult, *, for_good: bool
    ) -> None:
        """Send a large result, each chunk after the one before was confirmed."""
        chunks = chunks_of(
            _ENCODER.encode(result), job_id=result.job_id, bytes_max=self._message_bytes_max
        )
        index = 0
        while True:
            receipt = await self._ask(inbox, (), chunks[index])
            if receipt is not None and result.job_id in receipt.job_ids:
                await self._settle_confirmed(claim, result, for_good=for_good)
                return
            if receipt is not None and receipt.chunk == index:
                # A gateway that holds the last one and not the whole has lost one: from the start.
                index = (index + 1) % len(chunks)
                continue
            if claim.deadline <= self._clock():
                await self._drop(claim)
                return
            await asyncio.sleep(self._retry_s)

    async def _settle_confirmed(self, claim: Claim, result: JobResult, *, for_good: bool) -> None:
        (_FAILED if result.failure else _ANSWERED).inc()
        self.answered += 1
        if result.failure is not None:
            _log_failure(claim, result.failure)
        if for_good:
            # A crash between the two writes the letter again: the stream takes it once.
            await self._bury(claim, result)
        await self._settle(claim, lambda queue: queue.terminate() if for_good else queue.ack())

    async def _bury(self, claim: Claim, result: JobResult) -> None:
        try:
            await self._dead_letters.write(claim, result)
            metrics.DEAD_LETTERS.labels(outcome="written").inc()
        except SIEError as error:
            metrics.DEAD_LETTERS.labels(outcome="lost").inc()
            _LOG.warning("the dead letter of job %s is lost: %s", result.job_id, error.message)

    async def _confirm(
        self, inbox: str, pairs: Sequence[tuple[Claim, JobResult]], *, for_good: bool
    ) -> None:
        unconfirmed = {result.job_id: (claim, result) for claim, result in pairs}
        while unconfirmed:
            confirmed = await self._offer(inbox, [result for _, result in unconfirmed.values()])
            settled = [unconfirmed.pop(job_id) for job_id in confirmed if job_id in unconfirmed]
            for claim, result in settled:
                await self._settle_confirmed(claim, result, for_good=for_good)
            now = self._clock()
            late = [job for job, (claim, _) in unconfirmed.items() if claim.deadline <= now]
            for job_id in late:
                await self._drop(unconfirmed.pop(job_id)[0])
            if unconfirmed:
                await asyncio.sleep(self._retry_s)

    async def _offer(self, inbox: str, results: Sequence[JobResult]) -> Sequence[str]:
        """The ids of the jobs that the gateway confirms; none where it cannot be reached."""
        receipt = await self._ask(inbox, results)
        return receipt.job_ids if receipt is not None else ()

    async def _ask(
        self, inbox: str, results: Sequence[JobResult], chunk: ResultChunk | None = None
    ) -> ResultReceipt | None:
        """What the gateway confirms; None where it cannot be reached."""
        batch = ResultBatch(worker_id=self._worker_id, results=tuple(results), chunk=chunk)
        try:
            reply = await self._bus.request(
                inbox, _ENCODER.encode(batch), timeout_s=self._confirm_timeout_s
            )
            return RECEIPT_DECODER.decode(reply)
        except (SIEError, msgspec.DecodeError):
            metrics.UNCONFIRMED.inc()
            return None

    async def _settle(
        self,
        claim: Claim,
        word: Callable[[JobDelivery], Awaitable[None]],
        *,
        settled: bool = True,
    ) -> None:
        """Tell the queue. A crash before it has heard leaves the job to be run again."""
        # Closed first: a redelivery from here on is a job of its own, or known to be settled.
        self._claims.close(claim, settled=settled)
        await word(claim.delivery)


def _begin(claims: Iterable[Claim]) -> list[Claim]:
    """Those that nothing else is settling already; they are now being settled."""
    ending = [claim for claim in claims if not claim.is_ending]
    for claim in ending:
        claim.is_ending = True
    return ending


def _log_failure(claim: Claim, failure: JobFailure) -> None:
    job = claim.job
    _LOG.log(
        # What a client did wrong is the client's to read.
        logging.WARNING if error_for(failure.code, "").status >= 500 else logging.DEBUG,
        "a job failed: %s",
        failure.message,
        extra={
            "request_id": job.request_id,
            "job_id": job.job_id,
            "model": job.model_id,
            "code": failure.code,
            "epoch": f"{job.log_id[:8]}.{job.epoch}",
            "model_revision": job.model_revision,
            "adapter_revision": job.adapter.revision if job.adapter else "",
        },
    )


def _too_large(length: int, limit: int) -> FixRequest:
    return FixRequest(
        f"the answers of this job are {length} bytes and this worker sends at most {limit}: "
        "send fewer items",
        code="PAYLOAD_TOO_LARGE",
    )
