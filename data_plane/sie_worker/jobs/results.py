"""Results: how a hold ends.

*shell*: speaks to the gateways' inboxes and to the queue. A batch's results for one gateway go as
one message; a job is acknowledged only after its gateway has confirmed it. Promises that a result
is kept and offered again, at a bounded pace, until the job's deadline. A gateway that is gone or
reconnecting never makes a job run again. A result above the limit of a message goes as chunks, each
confirmed before the next. A job that fails on its last delivery has a dead letter written before it
is terminated. A job that is past its deadline, or whose client left, is acknowledged without a
result.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from sie_runtime.process.bounded_lines import EACH
from sie_runtime.process.tracing import trace_id_of
from sie_runtime.streams.deliveries import acknowledge
from sie_schemas.errors import FixRequest, OurFault, SIEError, error_for
from sie_schemas.jobs import (
    RECEIPT_DECODER,
    JobResult,
    ResultBatch,
    ResultChunk,
    ResultReceipt,
)
from sie_schemas.malformed import MALFORMED
from sie_worker import metrics
from sie_worker.forms.chunking import chunks_of
from sie_worker.jobs.holds import Hold, Holds

__all__ = ["DeadLetterBox", "Requests", "Results"]

_LOG: Final = logging.getLogger(__name__)
_ENCODER: Final = msgspec.msgpack.Encoder()
_ANSWERED: Final = metrics.JOBS.labels(outcome="answered")
_FAILED: Final = metrics.JOBS.labels(outcome="failed")

_Ended: TypeAlias = tuple[Hold, JobResult]


class Requests(Protocol):
    """The part of the bus that results need."""

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send and await the one answer. Raises `SIEError`."""


class DeadLetterBox(Protocol):
    """The place where the letters of jobs that failed for good are kept."""

    async def write(self, hold: Hold, result: JobResult) -> None:
        """Keep the letter of a job. Raises `SIEError`."""


class Results:
    """Settles holds. One owner: the event loop of this process."""

    def __init__(
        self,
        bus: Requests,
        holds: Holds,
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
        self._holds = holds
        self._worker_id = worker_id
        self._confirm_timeout_s = confirm_timeout_s
        self._retry_s = retry_s
        self._message_bytes_max = message_bytes_max
        self._chunked_bytes_max = chunked_bytes_max
        self._dead_letters = dead_letters
        self._clock = clock
        self.answered = 0
        """Jobs whose result a gateway has confirmed, since the start."""

    async def deliver(self, holds: Sequence[Hold]) -> None:
        """Deliver the answers of complete holds, and acknowledge what is confirmed."""
        ending = _begin(holds)
        await self._deliver([(hold, hold.result(self._worker_id)) for hold in ending])

    async def fail(self, holds: Sequence[Hold], error: SIEError) -> None:
        """Deliver the failure of whole jobs, and acknowledge what is confirmed."""
        ending = _begin(holds)
        await self._deliver([(hold, hold.result(self._worker_id, error)) for hold in ending])

    def drop(self, holds: Sequence[Hold]) -> None:
        """Nobody waits for them: acknowledge without a result."""
        self._drop(_begin(holds))

    async def give_back(
        self, holds: Sequence[Hold], error: SIEError, *, delay_s: float, blamed: bool = False
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
        ending = _begin(holds)
        again = [hold for hold in ending if not hold.delivery.last_delivery]
        last = [hold for hold in ending if hold.delivery.last_delivery]
        metrics.JOBS.labels(outcome="given_back").inc(len(again))
        # Closed before the queue hears, which may deliver them again at once: as jobs of their own.
        self._holds.close(again, settled=False)
        for hold in again:
            hold.delivery.retry(delay_s)
        await self._deliver(
            [(hold, hold.result(self._worker_id, last_error)) for hold in last], for_good=True
        )

    def _drop(self, holds: Sequence[Hold]) -> None:
        if holds:
            metrics.JOBS.labels(outcome="dropped").inc(len(holds))
            self._acknowledge(holds)

    def _acknowledge(self, holds: Sequence[Hold]) -> None:
        """Tell the queue. A crash before it has heard leaves the jobs to be run again."""
        # Closed first: a redelivery from here on is a job of its own, or known to be settled.
        self._holds.close(holds, settled=True)
        acknowledge([hold.delivery for hold in holds])

    async def _deliver(self, ended: Sequence[_Ended], *, for_good: bool = False) -> None:
        by_inbox: dict[str, list[_Ended]] = {}
        for each in ended:
            by_inbox.setdefault(each[0].job.reply_to, []).append(each)
        sending: list[Coroutine[Any, Any, None]] = []
        for inbox, pairs in by_inbox.items():
            sending += self._sending(inbox, pairs, for_good=for_good)
        if len(sending) == 1:
            # As nearly always: a batch of small results for one gateway needs no other task.
            await sending[0]
            return
        async with asyncio.TaskGroup() as group:
            for each_one in sending:
                group.create_task(each_one)

    def _sending(
        self, inbox: str, ended: Sequence[_Ended], *, for_good: bool
    ) -> list[Coroutine[Any, Any, None]]:
        """The sends to one inbox: in one message, or halved until each is small enough."""
        message = self._message(result for _, result in ended)
        if len(message) <= self._message_bytes_max:
            return [self._confirm(inbox, ended, message, for_good=for_good)]
        if len(ended) > 1:
            middle = len(ended) // 2
            halves = (ended[:middle], ended[middle:])
            return [one for half in halves for one in self._sending(inbox, half, for_good=for_good)]
        hold, result = ended[0]
        if len(message) > self._chunked_bytes_max:
            error = _too_large(len(message), self._chunked_bytes_max)
            return self._sending(
                inbox, [(hold, hold.result(self._worker_id, error))], for_good=for_good
            )
        return [self._confirm_chunked(inbox, hold, result, for_good=for_good)]

    def _message(self, results: Iterable[JobResult], chunk: ResultChunk | None = None) -> bytes:
        batch = ResultBatch(worker_id=self._worker_id, results=tuple(results), chunk=chunk)
        return _ENCODER.encode(batch)

    async def _confirm_chunked(
        self, inbox: str, hold: Hold, result: JobResult, *, for_good: bool
    ) -> None:
        """Send a large result, each chunk after the one before was confirmed."""
        chunks = chunks_of(
            _ENCODER.encode(result), job_id=result.job_id, bytes_max=self._message_bytes_max
        )
        index = 0
        while True:
            receipt = await self._ask(inbox, self._message((), chunks[index]))
            if receipt is not None and result.job_id in receipt.job_ids:
                await self._settle([(hold, result)], for_good=for_good)
                return
            if receipt is not None and receipt.chunk == index:
                # A gateway that holds the last one and not the whole has lost one: from the start,
                # after a pause, for it may lose one each time.
                index = (index + 1) % len(chunks)
                if index:
                    continue
            if hold.deadline <= self._clock():
                self._drop([hold])
                return
            await asyncio.sleep(self._retry_s)

    async def _settle(self, confirmed: Sequence[_Ended], *, for_good: bool) -> None:
        failed = [each for each in confirmed if each[1].failure is not None]
        _FAILED.inc(len(failed))
        _ANSWERED.inc(len(confirmed) - len(failed))
        self.answered += len(confirmed)
        for hold, result in failed:
            _log_failure(hold, result)
        if not for_good:
            self._acknowledge([hold for hold, _ in confirmed])
            return
        for hold, result in confirmed:
            # A crash between the two writes the letter again: the stream takes it once.
            await self._bury(hold, result)
            self._holds.close([hold], settled=True)
            hold.delivery.terminate()

    async def _bury(self, hold: Hold, result: JobResult) -> None:
        try:
            await self._dead_letters.write(hold, result)
            metrics.DEAD_LETTERS.labels(outcome="written").inc()
        except SIEError as error:
            metrics.DEAD_LETTERS.labels(outcome="lost").inc()
            _LOG.warning("the dead letter of job %s is lost: %s", result.job_id, error.message)

    async def _confirm(
        self, inbox: str, ended: Sequence[_Ended], message: bytes, *, for_good: bool
    ) -> None:
        """Offer results in one message, and what of them is not confirmed again and again."""
        unconfirmed = {result.job_id: (hold, result) for hold, result in ended}
        while True:
            receipt = await self._ask(inbox, message)
            confirmed = receipt.job_ids if receipt is not None else ()
            # Another process wrote it: it may name a job twice, or one that was not offered.
            settled = [unconfirmed.pop(job_id) for job_id in confirmed if job_id in unconfirmed]
            await self._settle(settled, for_good=for_good)
            if not unconfirmed:
                return
            # After what was confirmed: an answer that arrived is not dropped for being late.
            now = self._clock()
            late = [job for job, (hold, _) in unconfirmed.items() if hold.deadline <= now]
            self._drop([unconfirmed.pop(job_id)[0] for job_id in late])
            if not unconfirmed:
                return
            await asyncio.sleep(self._retry_s)
            message = self._message(result for _, result in unconfirmed.values())

    async def _ask(self, inbox: str, message: bytes) -> ResultReceipt | None:
        """The receipt that the gateway gives; None where it cannot be reached."""
        try:
            reply = await self._bus.request(inbox, message, timeout_s=self._confirm_timeout_s)
            return RECEIPT_DECODER.decode(reply)
        except (SIEError, *MALFORMED):
            metrics.UNCONFIRMED.inc()
            return None


def _begin(holds: Iterable[Hold]) -> list[Hold]:
    """Those that nothing else is settling already; they are now being settled."""
    ending = [hold for hold in holds if not hold.is_ending]
    for hold in ending:
        hold.is_ending = True
    return ending


def _log_failure(hold: Hold, result: JobResult) -> None:
    job, failure = hold.job, result.failure
    assert failure is not None, "only what failed is logged"
    _LOG.log(
        # What a client did wrong is the client's to read.
        logging.WARNING if error_for(failure.code, "").status >= 500 else logging.DEBUG,
        "a job failed: %s",
        failure.message,
        extra={
            **EACH,
            "request_id": job.request_id,
            "job_id": job.job_id,
            **({"trace_id": trace_id_of(job.trace)} if job.trace else {}),
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
