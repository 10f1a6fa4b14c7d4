"""The work queue: jobs through JetStream.

*shell.* Each pool has one work-queue stream, each (machine profile, bundle, model) one durable
consumer that its workers share. The makers are in sie-config; here they are only used, and waited
for where they are not there. Promises that a published job is stored before `publish_job` returns,
and that whoever calls `send_job` hears of a job that was not stored.
"""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final, TypeAlias

from sie_runtime.broker.bus import Bus, BusUnavailable, NoResponders
from sie_runtime.broker.direct_parser import headers_of
from sie_runtime.broker.overdue import Overdue
from sie_runtime.streams.deliveries import Delivery, WorkQueueSettings
from sie_runtime.streams.puller import Puller
from sie_schemas.errors import Later, SIEError
from sie_schemas.jobs import consumer_name, stream_name

__all__ = ["WorkQueue"]

Heard: TypeAlias = Callable[[SIEError | None], None]
"""Is told what became of a job: None when the broker has stored it."""
Stored: TypeAlias = Callable[[str, bytes], None]
"""Is told of a job that the broker has stored, and its word: `redelivery` reads the place in it."""


class WorkQueue:
    """The queue of every pool. Owner: the process's main task."""

    def __init__(self, bus: Bus, settings: WorkQueueSettings) -> None:
        self._bus = bus
        self._settings: Final = settings
        self._unconfirmed: Overdue[bytes, tuple[Heard, Stored | None, str]] = Overdue(
            self._settings.queue_publish_timeout_s, self._give_up
        )
        """By the subject that the broker's word comes to."""
        self._numbers = count(1)
        self._inbox = ""

    async def open(self) -> None:
        """Listen to what the broker says of jobs. Called before the first is sent."""
        if not self._inbox:
            self._inbox = self._bus.new_inbox()
            await self._bus.take(f"{self._inbox}.*", self._confirmed)

    async def publish_job(self, *, subject: str, data: bytes, job_id: str) -> None:
        """Store a job. Raises `BusUnavailable`, or `Later` QUEUE_FULL.

        After a timeout the job may be stored or not; the same `job_id` is stored once.
        """
        await self.open()
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.send_job(subject=subject, data=data, job_id=job_id, heard=partial(_tell, stored))
        try:
            await stored
        except NoResponders as error:
            raise BusUnavailable(error.message) from error

    def send_job(
        self,
        *,
        subject: str,
        data: bytes,
        job_id: str,
        heard: Heard,
        stored: Stored | None = None,
    ) -> None:
        """Send a job, on a queue that is open. Raises `BusUnavailable`.

        `heard` is called once. With None the broker has stored the job; with `Later` the queue is
        full (QUEUE_FULL). With `NoResponders` there is no stream, or it has no leader just now.
        With `BusUnavailable` the broker says nothing in time, and the job may be stored or not.
        `stored` is told the broker's word before that, where it is good.
        """
        reply = f"{self._inbox}.{next(self._numbers)}"
        # The id makes a job that is sent again the same one, where the broker still has the first.
        headers = f"NATS/1.0\r\nNats-Msg-Id: {job_id}\r\n\r\n".encode()
        self._bus.send(subject, data, reply=reply, headers=headers)
        self._unconfirmed.add(reply.encode(), (heard, stored, job_id))

    def _confirmed(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        told = self._unconfirmed.pop(subject)
        if told is None:
            return
        heard, stored, job_id = told
        refusal = _refusal(data, headers)
        if stored is not None and refusal is None:
            stored(job_id, data)
        heard(refusal)

    def _give_up(self, reply: bytes, told: tuple[Heard, Stored | None, str]) -> None:
        timeout_s = self._settings.queue_publish_timeout_s
        told[0](BusUnavailable(f"the broker did not store the job within {timeout_s:g} s"))

    async def open_puller(
        self,
        *,
        pool: str,
        machine_profile: str,
        bundle: str,
        model_id: str,
        on_job: Callable[[Delivery], None],
        demand: Callable[[], int],
    ) -> Puller:
        """Begin to pull jobs for one model. `demand` says how many jobs could be run soon.

        `on_job` is called inline for each job. Raises `BusUnavailable`. A consumer that is not
        there is waited for.
        """
        self._bus.require_connected()
        puller = Puller(
            self._bus,
            stream_name(pool),
            consumer_name(machine_profile, bundle, model_id),
            self._settings,
            on_job=on_job,
            demand=demand,
        )
        await puller.open()
        return puller


def _refusal(data: bytes, headers: bytes) -> SIEError | None:
    """The error in the broker's word on a job, if it has one."""
    if headers and headers_of(headers).get("Status") == "503":
        return NoResponders("the queue has no stream, or its stream no leader: sie-config makes it")
    if b'"error"' not in data:
        return None
    problem = json.loads(data)["error"].get("description", "unknown")
    return Later(f"the queue refuses the job: {problem}", code="QUEUE_FULL")


def _tell(stored: "asyncio.Future[None]", error: SIEError | None) -> None:
    if stored.done():
        return
    if error is None:
        stored.set_result(None)
    else:
        stored.set_exception(error)
