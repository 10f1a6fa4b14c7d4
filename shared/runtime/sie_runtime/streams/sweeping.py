"""The sweeper: jobs that took down every worker that tried them, found by the broker's advisories.

*shell.* A job whose last delivery was neither acknowledged nor terminated stays in its stream, and
nobody gets it any more. The broker says so once, and the stream `SWEEP_ADVISORIES` keeps that word.
It goes when the sweeper has written the dead letter, told the gateway that waits, and ended the
job. It runs in sie-config, which alone may read any pool's jobs. An abandoned job, past its
deadline, is ended without a letter. What is no word of the broker's own is dropped.
"""

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.errors import NotFoundError

from sie_runtime.broker.bus import Bus, reason_of
from sie_runtime.settings import constant
from sie_runtime.streams.dead_letters import DeadLetters
from sie_schemas.dead_letters import dead_letter_of
from sie_schemas.errors import SIEError
from sie_schemas.jobs import JOB_DECODER, JOB_ENCODER, Job, JobFailure, JobResult, ResultBatch
from sie_schemas.malformed import MALFORMED

__all__ = ["ADVISORIES", "CONSUMER", "STREAM", "SweepSettings", "Sweeper"]

_LOG: Final = logging.getLogger(__name__)
STREAM: Final = "SWEEP_ADVISORIES"
ADVISORIES: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.*"
CONSUMER: Final = "sweeper"
_QUEUES: Final = "WORK_POOL_"
_CODE: Final = "INFERENCE_ERROR"
_REASON: Final = "given up: no worker that tried this job came to an end with it"
_SWEEP_MAX: Final = 16
"""Dead jobs taken at a time; each costs a letter to the broker."""


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Pace of the sweeper."""

    sweep_interval_s: float = constant(
        30.0, help="seconds that one look for jobs that crash their workers stays open"
    )
    sweep_retry_s: float = constant(2.0, help="pause of the sweeper after the broker refused it")


class Sweeper:
    """One loop of a process."""

    def __init__(self, bus: Bus, letters: DeadLetters, settings: SweepSettings) -> None:
        self._bus = bus
        self._letters = letters
        self._settings: Final = settings
        self._timeout_s: Final = letters.settings.dead_letter_timeout_s
        self._jetstream = bus.client.jetstream(timeout=self._timeout_s)
        self._advisories: Any = None

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until `stop`, through every loss of the broker."""
        while not stop.is_set():
            try:
                self._bus.require_connected()
                self._advisories = self._advisories or await self._open()
                for advisory in await self._fetched(stop):
                    await self._sweep(advisory)
            except (SIEError, NatsError, TimeoutError) as error:
                _LOG.debug("the sweeper waits for the broker: %s", reason_of(error))
                self._advisories = None
                await self._pause(stop)

    async def _open(self) -> Any:
        return await self._jetstream.pull_subscribe_bind(CONSUMER, STREAM)

    async def _fetched(self, stop: asyncio.Event) -> list[Msg]:
        """The advisories that come until `stop`."""
        fetching = asyncio.ensure_future(self._fetch())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return fetching.result() if fetching.done() else []
        finally:
            fetching.cancel()
            stopping.cancel()

    async def _fetch(self) -> list[Msg]:
        try:
            found: list[Msg] = await self._advisories.fetch(
                _SWEEP_MAX, timeout=self._settings.sweep_interval_s
            )
        except NatsTimeoutError:
            return []
        return found

    async def _sweep(self, message: Msg) -> None:
        """A crash anywhere in here repeats it: each step may happen twice without harm."""
        advisory = _advisory(message)
        if advisory is None:
            await message.ack_sync()
            return
        stream, sequence = str(advisory["stream"]), int(advisory["stream_seq"])
        if stream.startswith(_QUEUES):
            try:
                found = await self._jetstream.get_msg(stream, sequence)
            except NotFoundError:
                # It was acknowledged after all.
                found = None
            if found is not None and found.data is not None:
                age = message.metadata.timestamp - found.time if found.time is not None else None
                age_s = age.total_seconds() if age is not None else 0.0
                await self._bury(str(found.subject), bytes(found.data), advisory, age_s)
                await self._end(stream, str(advisory["consumer"]), sequence, advisory)
        # Last, and confirmed: the broker says this word once, and often when every worker has just
        # died.
        await message.ack_sync()

    async def _bury(
        self, subject: str, data: bytes, advisory: dict[str, Any], age_s: float
    ) -> None:
        """Write the letter of a job and answer for it, unless nobody waits by now.

        `age_s` is by the broker's clock. The job's moments are of its gateway's, and only what lies
        between them means anything here.
        """
        try:
            job = JOB_DECODER.decode(data)
        except MALFORMED:
            return
        if job.deadline - job.published_at <= age_s:
            return
        letter = dead_letter_of(
            job,
            data,
            pool=str(advisory["stream"]).removeprefix(_QUEUES),
            subject=subject,
            deliveries=int(advisory["deliveries"]),
            code=_CODE,
            reason=_REASON,
            worker_id="",
            at=time.time(),
            keep_payload=self._letters.settings.dead_letter_payloads,
        )
        await self._letters.write(letter, reply_to=job.reply_to)
        await self._tell(job)

    async def _tell(self, job: Job) -> None:
        """Answer whoever waits; a gateway that is gone needs no answer."""
        result = JobResult(
            job_id=job.job_id,
            request_id=job.request_id,
            first_item=job.first_item,
            failure=JobFailure(_CODE, _REASON),
            model_revision=job.model_revision,
            adapter=job.adapter,
        )
        batch = ResultBatch(worker_id="", results=(result,))
        try:
            await self._bus.request(
                job.reply_to, JOB_ENCODER.encode(batch), timeout_s=self._timeout_s
            )
        except SIEError as error:
            _LOG.info("nobody took the failure of job %s: %s", job.job_id, error.message)

    async def _end(
        self, stream: str, consumer: str, sequence: int, advisory: dict[str, Any]
    ) -> None:
        """Take the job out of its stream.

        No role may delete a message; the consumer that gave up on it may still terminate it.
        """
        word = f"$JS.ACK.{stream}.{consumer}.{advisory['deliveries']}.{sequence}.0.0.0"
        await self._bus.client.request(word, b"+TERM", timeout=self._timeout_s)

    async def _pause(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._settings.sweep_retry_s):
                await stop.wait()
        except TimeoutError:
            return


def _advisory(message: Msg) -> dict[str, Any] | None:
    """The broker's word; None for what it was made to deliver among its words."""
    try:
        told = json.loads(message.data)
        whole = {
            "stream": str(told["stream"]),
            "consumer": str(told["consumer"]),
            "stream_seq": int(told["stream_seq"]),
            "deliveries": int(told["deliveries"]),
        }
    except (ValueError, TypeError, KeyError):
        whole = None
    # What is read out of a stream says so in its headers; an advisory has none.
    if whole is None or message.headers:
        _LOG.warning("dropped what stood among the advisories and is none")
        return None
    return whole
