"""Dead letters for operators: told without their contents, run again, dropped.

*shell.* Works on a connection that its caller owns. Promises that `run_again` drops a letter only
after its job was run with success. What is told of a letter holds no content of its request. A
letter is a worker's word: run again it goes to a queue, and to no other subject.
"""

import asyncio
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from sie_runtime.broker.bus import Bus, Message
from sie_runtime.streams.dead_letters import DeadLetters, NumberedLetter
from sie_runtime.streams.deliveries import WorkQueueSettings
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas.api.log import LetterRun, LetterShown
from sie_schemas.dead_letters import DeadLetter
from sie_schemas.errors import FixRequest, OurFault, TimeRanOut, error_for
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RESULT_DECODER,
    Job,
    JobResult,
    ResultReceipt,
)
from sie_schemas.malformed import MALFORMED

__all__ = ["contents_of", "run_again", "told_of"]

_QUEUE: Final = re.compile(r"sie\.work(\.[^.*>\s\x00-\x1f\x7f]+){4}")
"""The subject of a job. Who runs it again may publish the log too, and writes it unchecked."""


def told_of(found: NumberedLetter) -> LetterShown:
    """All that is known of a letter, but for its payload."""
    letter = found.letter
    fields = msgspec.structs.asdict(letter)
    del fields["payload"]
    at = datetime.fromtimestamp(letter.at, UTC).isoformat(timespec="seconds")
    told = {"number": found.number, **fields, "at": at, "payload_kept": letter.payload is not None}
    return cast(LetterShown, told)


def contents_of(found: NumberedLetter) -> dict[str, Any]:
    """The items of the request. Raises `FixRequest` where they were not kept."""
    job = _job(found.letter, found.number)
    told: dict[str, Any] = msgspec.to_builtins({"items": job.items, "query": job.query})
    return told


async def run_again(bus: Bus, letters: DeadLetters, number: int, *, within_s: float) -> LetterRun:
    """Run a job again and drop its letter when it succeeds.

    Raises the error that the job failed with, or `TimeRanOut`: the letter then stays.
    """
    found = await letters.get(number)
    if not _QUEUE.fullmatch(found.letter.subject):
        raise OurFault(f"dead letter {number} names no queue to run its job on; drop it")
    result = await _run(bus, found.letter, _job(found.letter, number), within_s)
    failure = result.failure
    if failure is not None:
        raise error_for(failure.code, f"it failed again: {failure.message}")
    if result.item_failures:
        first = result.item_failures[0]
        raise error_for(first.code, f"item {first.index} failed again: {first.message}")
    await letters.drop(number)
    return {"number": number, "job_id": result.job_id, "worker_id": result.worker_id}


async def _run(bus: Bus, letter: DeadLetter, job: Job, within_s: float) -> JobResult:
    run_id = f"retry-{uuid.uuid4().hex}"
    now = time.time()
    again = msgspec.structs.replace(
        job,
        job_id=f"{run_id}.{job.first_item}",
        request_id=run_id,
        reply_to=f"sie.retried.{run_id}",
        published_at=now,
        deadline=now + within_s,
    )
    results: asyncio.Queue[JobResult] = asyncio.Queue(maxsize=1)

    async def take(message: Message) -> None:
        batch = RESULT_DECODER.decode(message.data)
        for result in batch.results[:1]:
            if results.empty():
                results.put_nowait(result)
        receipt = ResultReceipt(job_ids=tuple(result.job_id for result in batch.results))
        await message.respond(JOB_ENCODER.encode(receipt))

    subscription = await bus.subscribe(again.reply_to, take)
    try:
        await WorkQueue(bus, WorkQueueSettings()).publish_job(
            subject=letter.subject, data=JOB_ENCODER.encode(again), job_id=again.job_id
        )
        async with asyncio.timeout(within_s):
            return await results.get()
    except TimeoutError as error:
        raise TimeRanOut(f"no worker answered within {within_s:g} s; the letter stays") from error
    finally:
        await subscription.unsubscribe()


def _job(letter: DeadLetter, number: int) -> Job:
    if letter.payload is None:
        raise FixRequest(
            f"dead letter {number} has no payload: workers and sie-config keep them only with "
            "--dead-letter-payloads true"
        )
    try:
        return JOB_DECODER.decode(letter.payload)
    except MALFORMED as error:
        raise OurFault(f"the job of dead letter {number} cannot be read: {error}") from error
