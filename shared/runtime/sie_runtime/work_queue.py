"""The work queue: jobs through JetStream.

*shell.* One work-queue stream for each pool, one durable consumer for each (machine profile,
bundle, model), shared by the workers that pull for it. Promises that a published job is stored
before `publish_job` returns, and that whoever calls `send_job` hears of a job that was not stored.
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

from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from sie_runtime.bus import Bus, BusUnavailable, NoResponders, Subscription, reason_of
from sie_runtime.direct_parser import headers_of
from sie_runtime.overdue import Overdue
from sie_runtime.settings import setting
from sie_runtime.shared_stream import make_stream
from sie_schemas.errors import Later, SIEError
from sie_schemas.jobs import consumer_name, stream_name, stream_subjects, subject

__all__ = ["Delivery", "Puller", "WorkQueue", "WorkQueueSettings", "acknowledge"]

_LOG: Final = logging.getLogger(__name__)
_STATUS: Final = b"NATS/1.0 "
"""What begins the headers of the broker's own words: a job's have nothing behind the version."""
_BUSY_S: Final = 60.0
"""How long a model counts as asked for, after a job or since its jobs are pulled."""

Heard: TypeAlias = Callable[[SIEError | None], None]
"""Is told what became of a job: None when the broker has stored it."""
Stored: TypeAlias = Callable[[str, bytes], None]
"""Is told of a job that the broker has stored, and its word: `redelivery` reads the place in it."""


@dataclass(frozen=True, kw_only=True)
class WorkQueueSettings:
    """Bounds of the queue. Gateways and workers of one cluster use the same."""

    queue_ack_wait_s: float = setting(
        30.0, help="seconds without a word before a job goes to another worker"
    )
    queue_deliveries_max: int = setting(5, help="deliveries of one job, the first included")
    queue_age_max_s: float = setting(
        1800.0, help="seconds after which a job that nobody took is dropped"
    )
    queue_messages_max: int = setting(
        100_000, help="jobs that a pool may hold before new ones are refused"
    )
    queue_publish_timeout_s: float = setting(
        5.0, help="seconds to wait for the broker to store a job"
    )
    queue_consumers_max: int = setting(
        100_000, help="consumers of a pool: models times kinds of worker"
    )
    queue_pull_expires_s: float = setting(
        20.0, help="seconds that one pull stays open at the broker where no jobs come"
    )
    queue_pull_brisk_s: float = setting(
        2.0,
        help="the same where jobs came within a minute: so long may a worker that stopped take "
        "jobs which it does not run; under a gateway's worker_dead_s by a heartbeat",
    )
    queue_renew_s: float = setting(
        0.5, help="seconds before a consumer that could not be made is tried again"
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
        self._jetstream = bus.client.jetstream(timeout=self._settings.queue_publish_timeout_s)
        self._streams: set[str] = set()
        self._unconfirmed: Overdue[bytes, tuple[Heard, Stored | None, str]] = Overdue(
            self._settings.queue_publish_timeout_s, self._give_up
        )
        """By the subject that the broker's word comes to."""
        self._numbers = count(1)
        self._inbox = ""
        self._making: dict[str, asyncio.Task[None]] = {}

    def has_stream(self, pool: str) -> bool:
        """Whether the stream of a pool was there when it was last looked for."""
        return pool in self._streams

    async def ensure_stream(self, pool: str) -> None:
        """Make the stream of a pool if it is not there. Raises `BusUnavailable`.

        Whoever asks while it is made shares the outcome: a crowd would bury the broker.
        """
        if pool in self._streams:
            return
        making = self._making.get(pool)
        if making is None:
            making = asyncio.create_task(self._make_stream(pool), name=f"make-stream-{pool}")
            making.add_done_callback(_noted)
            self._making[pool] = making
        # A request that is given up must not take the outcome from the others.
        await asyncio.shield(making)

    async def _make_stream(self, pool: str) -> None:
        try:
            await self._add_stream(pool)
        finally:
            del self._making[pool]

    async def _add_stream(self, pool: str) -> None:
        settings = self._settings
        self._bus.require_connected()
        config = StreamConfig(
            name=stream_name(pool),
            subjects=[stream_subjects(pool)],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_age=settings.queue_age_max_s,
            max_msgs=settings.queue_messages_max,
            max_consumers=settings.queue_consumers_max,
            duplicate_window=60,
            num_replicas=self._bus.stream_replicas,
        )
        await make_stream(
            self._bus, config, holds=f"pool {pool!r}", timeout_s=settings.queue_publish_timeout_s
        )
        if not self._inbox:
            # In front of every job on the wire, whoever sends one meanwhile.
            self._inbox = self._bus.client.new_inbox()
            await self._bus.take(f"{self._inbox}.*", self._confirmed)
        self._streams.add(pool)

    async def publish_job(self, *, pool: str, subject: str, data: bytes, job_id: str) -> None:
        """Store a job. Raises `BusUnavailable`, or `Later` QUEUE_FULL.

        After a timeout the job may be stored or not; the same `job_id` is stored once.
        """
        try:
            await self._publish(pool, subject, data, job_id)
        except NoResponders:
            self.forget_stream(pool)
            try:
                await self._publish(pool, subject, data, job_id)
            except NoResponders as error:
                raise BusUnavailable(error.message) from error

    async def _publish(self, pool: str, subject: str, data: bytes, job_id: str) -> None:
        await self.ensure_stream(pool)
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.send_job(subject=subject, data=data, job_id=job_id, heard=partial(_tell, stored))
        await stored

    def send_job(
        self,
        *,
        subject: str,
        data: bytes,
        job_id: str,
        heard: Heard,
        stored: Stored | None = None,
    ) -> None:
        """Send a job to a stream that `ensure_stream` made sure of. Raises `BusUnavailable`.

        `heard` is called once: with None when the broker has stored the job; with `Later`
        QUEUE_FULL; with `NoResponders` when there is no stream or it has no leader just now; with
        `BusUnavailable` when the broker says nothing in time, and the job may be stored or not.
        `stored` is told the broker's word before that, where it is good.
        """
        reply = f"{self._inbox}.{next(self._numbers)}"
        headers = f"NATS/1.0\r\nNats-Msg-Id: {job_id}\r\n\r\n".encode()
        self._bus.send(subject, data, reply=reply, headers=headers)
        self._unconfirmed.add(reply.encode(), (heard, stored, job_id))

    def forget_stream(self, pool: str) -> None:
        """The broker lost its store, or there is no leader: make sure of the stream anew."""
        self._streams.discard(pool)

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

        `on_job` is called inline for each job. Raises `BusUnavailable` when the consumer cannot be
        made.
        """
        await self.ensure_stream(pool)
        settings = self._settings
        config = ConsumerConfig(
            durable_name=consumer_name(machine_profile, bundle, model_id),
            filter_subject=subject(pool, machine_profile, bundle, model_id),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=settings.queue_ack_wait_s,
            max_deliver=settings.queue_deliveries_max,
            max_ack_pending=100_000,
        )
        puller = Puller(self, self._bus, pool, config, settings, on_job=on_job, demand=demand)
        await puller.open()
        return puller

    async def ensure_consumer(self, pool: str, config: ConsumerConfig) -> None:
        """Make a durable consumer if it is not there. Raises `BusUnavailable`."""
        self._bus.require_connected()
        try:
            await self._jetstream.add_consumer(stream_name(pool), config)
        except NotFoundError as error:
            self._streams.discard(pool)
            raise BusUnavailable(f"the stream of pool {pool!r} is gone") from error
        except (APIError, NatsError, TimeoutError) as error:
            raise BusUnavailable(
                f"consumer {config.durable_name!r} cannot be made: {reason_of(error)}"
            ) from error


def _refusal(data: bytes, headers: bytes) -> SIEError | None:
    """What the broker's word on a job says against it."""
    if headers and headers_of(headers).get("Status") == "503":
        return NoResponders("the queue has no stream, or its stream no leader")
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


def _noted(making: asyncio.Task[None]) -> None:
    """Its error belongs to those who wait for it; they may all have left."""
    if not making.cancelled():
        making.exception()


class Puller:
    """Pulls for one durable consumer, pipelined: asks again before the old pull is used up."""

    def __init__(
        self,
        queue: WorkQueue,
        bus: Bus,
        pool: str,
        config: ConsumerConfig,
        settings: WorkQueueSettings,
        *,
        on_job: Callable[[Delivery], None],
        demand: Callable[[], int],
    ) -> None:
        self._queue = queue
        self._bus = bus
        self._pool = pool
        self._config = config
        self._settings = settings
        self._on_job = on_job
        self._demand = demand
        self._asked = 0
        self._asked_at = 0.0
        self._expires_s = 0.0
        """How long the last pull stays open."""
        self._busy_until = 0.0
        self._woken = asyncio.Event()
        self._closing = False
        self._renewal_due = False
        """Whether stream and consumer may be gone, and are to be made sure of before asking."""
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._task: asyncio.Task[None] | None = None
        self._forget_bus: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """Make the consumer and begin. Raises `BusUnavailable`."""
        await self._queue.ensure_consumer(self._pool, self._config)
        await self._listen()
        self._forget_bus = self._bus.on_reconnect(self._reset)
        # It was called for the connection that the consumer was just made on.
        self._renewal_due = False
        self._busy_until = asyncio.get_running_loop().time() + _BUSY_S
        self._task = asyncio.create_task(
            self._keep_asking(), name=f"pull-{self._config.durable_name}"
        )

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
            if self._renewal_due and not await self._renewed():
                await self._sleep(self._settings.queue_renew_s)
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
        is_busy = now < self._busy_until
        self._expires_s = settings.queue_pull_brisk_s if is_busy else settings.queue_pull_expires_s
        request = {"batch": count, "expires": int(self._expires_s * 1e9)}
        name = f"$JS.API.CONSUMER.MSG.NEXT.{stream_name(self._pool)}.{self._config.durable_name}"
        try:
            self._bus.send(name, json.dumps(request).encode(), reply=self._inbox)
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
        if told.get("Status") in ("409", "503"):
            self._asked = 0
            self._renewal_due = True
        self._woken.set()

    def _take(self, data: bytes, reply: bytes) -> None:
        self._asked = max(0, self._asked - 1)
        self._busy_until = asyncio.get_running_loop().time() + _BUSY_S
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
        """Ask again before the old pull is used up, but not for each single job."""
        wanted = room - self._asked
        if wanted >= max(1, self._asked) and not self._closing and not self._renewal_due:
            self._ask(wanted)

    async def _renewed(self) -> bool:
        # Before the attempt: whatever happens during it makes another one due.
        self._renewal_due = False
        try:
            await self._queue.ensure_stream(self._pool)
            await self._queue.ensure_consumer(self._pool, self._config)
        except BusUnavailable as error:
            _LOG.warning("the consumer could not be made again: %s", error.message)
            self._renewal_due = True
            return False
        return True

    def _reset(self) -> None:
        """After a reconnection nothing that was asked for can be relied on."""
        if not self._closing:
            self._asked = 0
            self._renewal_due = True
            self._woken.set()

    async def _listen(self) -> None:
        self._inbox = self._bus.client.new_inbox()
        self._subscription = await self._bus.take(self._inbox, self._received)

    async def _unlisten(self) -> None:
        if self._subscription is not None:
            await self._subscription.drain()
