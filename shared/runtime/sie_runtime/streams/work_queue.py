"""The work queue: jobs through JetStream.

*shell.* One work-queue stream for each pool, one durable consumer for each (machine profile,
bundle, model), shared by the workers that pull for it. sie-config makes them; here they are only
used, and waited for where they are not there. Promises that a published job is stored before
`publish_job` returns, and that whoever calls `send_job` hears of a job that was not stored.
Delivery is at least once: whoever runs a job may see it again, also where its acknowledgement was
lost on the way.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final, TypeAlias

from sie_runtime.broker.bus import Bus, BusUnavailable, NoResponders, Subscription
from sie_runtime.broker.direct_parser import headers_of
from sie_runtime.broker.overdue import Overdue
from sie_runtime.settings import constant, setting
from sie_schemas.errors import Later, SIEError
from sie_schemas.jobs import consumer_name, stream_name

__all__ = [
    "Delivery",
    "DeliverySettings",
    "Puller",
    "WorkQueue",
    "WorkQueueSettings",
    "acknowledge",
]

_LOG: Final = logging.getLogger(__name__)
_STATUS: Final = b"NATS/1.0 "
"""The start of headers of the broker's own words: a job's have nothing behind the version."""
_BUSY_S: Final = 60.0
"""The seconds that a model counts as asked for, after a job."""

_PAUSE_S: Final = 0.01
_REFUSED_TOLD: Final = 20

Heard: TypeAlias = Callable[[SIEError | None], None]
"""Is told what became of a job: None when the broker has stored it."""
Stored: TypeAlias = Callable[[str, bytes], None]
"""Is told of a job that the broker has stored, and its word: `redelivery` reads the place in it."""


@dataclass(frozen=True, kw_only=True)
class DeliverySettings:
    """The settings of delivery. sie-config and the workers of one cluster use the same."""

    queue_ack_wait_s: float = setting(
        30.0, help="seconds without a word before a job goes to another worker"
    )
    queue_deliveries_max: int = setting(5, help="deliveries of one job, the first included")


@dataclass(frozen=True, kw_only=True)
class WorkQueueSettings(DeliverySettings):
    """The settings by which a process uses the queue."""

    queue_publish_timeout_s: float = constant(
        5.0, help="seconds to wait for the broker to store a job"
    )
    queue_pull_expires_s: float = constant(
        20.0, help="seconds that one pull, for one job, stays open where no jobs come"
    )
    queue_pull_brisk_s: float = setting(
        2.0,
        help="the same where jobs came within a minute: so long may a worker that stopped take "
        "jobs which it does not run; under a gateway's worker_dead_s by a heartbeat",
    )
    queue_renew_s: float = constant(
        0.5, help="longest pause before a consumer that is not there is pulled from again"
    )


class Delivery:
    """One job as the queue handed it over.

    What is said of it is sent and not waited for; where the connection is lost it comes again.
    """

    __slots__ = ("_bus", "_reply", "data", "delivery_count", "last_delivery")

    def __init__(self, bus: Bus, data: bytes, reply: bytes, deliveries_max: int) -> None:
        self._bus = bus
        self._reply = reply
        self.data: Final = data
        self.delivery_count: Final = _delivery_count(reply)
        self.last_delivery: Final = self.delivery_count >= deliveries_max

    def ack(self) -> None:
        """The job is done."""
        acknowledge([self])

    def retry(self, delay_s: float) -> None:
        """Give the job to whoever pulls next, after a pause."""
        _say(b'-NAK {"delay": %d}' % int(delay_s * 1e9) if delay_s > 0 else b"-NAK", [self])

    def extend(self) -> None:
        """It takes longer: start the wait for the acknowledgement anew."""
        _say(b"+WPI", [self])

    def terminate(self) -> None:
        """Never deliver it again."""
        _say(b"+TERM", [self])


def acknowledge(deliveries: Sequence[Delivery]) -> None:
    """These jobs are done. All are of one bus."""
    _say(b"+ACK", deliveries)


def _say(word: bytes, deliveries: Sequence[Delivery]) -> None:
    if not deliveries:
        return
    try:
        deliveries[0]._bus.send_to_all([each._reply for each in deliveries], word)
    except BusUnavailable as error:
        _LOG.warning(
            "a word on %d jobs did not reach the broker: %s", len(deliveries), error.message
        )


def _delivery_count(reply: bytes) -> int:
    """From `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.…`"""
    tokens = reply.split(b".")
    return int(tokens[4 if len(tokens) == 9 else 6])


class WorkQueue:
    """The queue of every pool. Owner: the process's main task."""

    def __init__(self, bus: Bus, settings: WorkQueueSettings | None = None) -> None:
        self._bus = bus
        self._settings: Final = settings or WorkQueueSettings()
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

        `heard` is called once: with None when the broker has stored the job; with `Later`
        QUEUE_FULL; with `NoResponders` when there is no stream or it has no leader just now; with
        `BusUnavailable` when the broker says nothing in time, and the job may be stored or not.
        `stored` is told the broker's word before that, where it is good.
        """
        reply = f"{self._inbox}.{next(self._numbers)}"
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
    ) -> "Puller":
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


class Puller:
    """Pulls for one durable consumer, pipelined: asks again before the old pull is used up."""

    def __init__(
        self,
        bus: Bus,
        stream: str,
        consumer: str,
        settings: WorkQueueSettings,
        *,
        on_job: Callable[[Delivery], None],
        demand: Callable[[], int],
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._settings = settings
        self._on_job = on_job
        self._demand = demand
        self._asked = 0
        self._asked_at = 0.0
        self._expires_s = 0.0
        """The seconds that the last pull stays open."""
        self._busy_until = 0.0
        self._woken = asyncio.Event()
        self._closing = False
        self._refused = 0
        """The number of times in a row that the consumer was not there, or gave the pull up."""
        self._pausing = False
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._task: asyncio.Task[None] | None = None
        self._forget_bus: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Begin."""
        self._inbox = self._bus.new_inbox()
        self._subscription = await self._bus.take(self._inbox, self._received)
        self._forget_bus = self._bus.on_reconnect(self._reset)
        self._task = asyncio.create_task(self._keep_asking(), name=f"pull-{self._consumer}")

    def wake(self, room: int) -> None:
        """There is room for so many jobs. Raises what ended the pulling, if anything did."""
        if self._task is not None and self._task.done() and not self._closing:
            self._task.result()
        self._ask_if_due(room)

    async def close(self) -> None:
        """Stop pulling. What was handed over stays with its owner."""
        self._closing = True
        self._woken.set()
        self._forget_bus()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._unlisten()

    # -- the loop --

    async def _keep_asking(self) -> None:
        """Keep as many jobs asked for as could be run soon; renew pulls that the broker let go."""
        loop = asyncio.get_running_loop()
        while not self._closing:
            self._woken.clear()
            if self._pausing:
                await self._sleep(self._pause_s)
                self._pausing = False
                continue
            if self._asked and loop.time() - self._asked_at > self._expires_s + 1:
                # The broker's word that the pull expired was lost: ask anew.
                self._asked = 0
            self._ask_if_due(self._demand())
            await self._sleep(self._expires_s / 2 or self._settings.queue_pull_expires_s / 2)

    async def _sleep(self, longest_s: float) -> None:
        # A timer that wakes costs a fifth of a timeout that cancels.
        timer = asyncio.get_running_loop().call_later(longest_s, self._woken.set)
        await self._woken.wait()
        timer.cancel()

    def _ask(self, count: int) -> None:
        settings, now = self._settings, asyncio.get_running_loop().time()
        self._expires_s = (
            settings.queue_pull_brisk_s if self._is_busy else settings.queue_pull_expires_s
        )
        request = {"batch": count, "expires": int(self._expires_s * 1e9)}
        try:
            self._bus.send(self._subject, json.dumps(request).encode(), reply=self._inbox)
        except BusUnavailable:
            # The reconnection asks anew.
            return
        self._asked += count
        self._asked_at = now

    def _received(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if not headers.startswith(_STATUS):
            self._take(data, reply)
            return
        told = headers_of(headers)
        # 404 and 408: the pull is over; 409: the consumer is gone or limits were reached.
        pending = int(told.get("Nats-Pending-Messages", self._asked) or 0)
        self._asked = max(0, self._asked - pending)
        if told.get("Status") not in ("409", "503"):
            self._refused = 0
        else:
            self._asked = 0
            self._refused += 1
            self._pausing = True
            if self._refused == _REFUSED_TOLD:
                _LOG.warning("no consumer %s is there: sie-config makes it", self._consumer)
        self._woken.set()

    def _take(self, data: bytes, reply: bytes) -> None:
        self._asked = max(0, self._asked - 1)
        self._busy_until = asyncio.get_running_loop().time() + _BUSY_S
        self._refused = 0
        delivery = Delivery(self._bus, data, reply, self._settings.queue_deliveries_max)
        if self._closing:
            # It was on its way when the pull ended: at once to somebody else.
            delivery.retry(0)
            return
        self._on_job(delivery)
        if not self._asked:
            # Nobody may have been freed meanwhile, who would say that there is room.
            self._ask_if_due(self._demand())

    def _ask_if_due(self, room: int) -> None:
        """Ask again before the old pull is used up, but not for each single job.

        Where no jobs came, one is asked for: what a long pull left open, a worker that stops here
        would take from the others.
        """
        wanted = (room if self._is_busy else min(room, 1)) - self._asked
        if wanted >= max(1, self._asked) and not self._closing and not self._pausing:
            self._ask(wanted)

    @property
    def _is_busy(self) -> bool:
        return asyncio.get_running_loop().time() < self._busy_until

    @property
    def _pause_s(self) -> float:
        """Short at first: sie-config makes a consumer as soon as there is a use for it."""
        return min(self._settings.queue_renew_s, _PAUSE_S * 2.0 ** min(self._refused, 16))

    def _reset(self) -> None:
        """After a reconnection nothing that was asked for can be relied on."""
        if not self._closing:
            self._asked = self._refused = 0
            self._pausing = False
            self._woken.set()

    async def _unlisten(self) -> None:
        if self._subscription is not None:
            await self._subscription.drain()
