"""Letters: what this worker tells of a job that failed on its last delivery.

*shell.* Writes to the cluster's dead letters and decides nothing: `results` says which jobs failed
for good.
"""

import time

from sie_runtime.streams.dead_letters import DeadLetters
from sie_schemas.dead_letters import dead_letter_of
from sie_schemas.fleet import WorkerKind
from sie_schemas.jobs import JobResult, subject
from sie_worker.jobs.holds import Hold

__all__ = ["JobLetters"]


class JobLetters:
    """The letters of one worker, which pulls for one kind of worker."""

    def __init__(self, letters: DeadLetters, *, worker_id: str, kind: WorkerKind) -> None:
        self._letters = letters
        self._worker_id = worker_id
        self._kind = kind

    async def write(self, hold: Hold, result: JobResult) -> None:
        """Write the letter of a job. Raises `BusUnavailable`."""
        job, failure = hold.job, result.failure
        letter = dead_letter_of(
            job,
            hold.delivery.data,
            pool=self._kind.pool,
            subject=subject(*self._kind, job.model_id),
            deliveries=hold.delivery.delivery_count,
            code=failure.code if failure is not None else "",
            reason=failure.message if failure is not None else "",
            worker_id=self._worker_id,
            at=time.time(),
            keep_payload=self._letters.settings.dead_letter_payloads,
        )
        await self._letters.write(letter, reply_to=job.reply_to)
