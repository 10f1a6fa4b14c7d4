"""The work queue: jobs through JetStream.

*shell.* One work-queue stream for each pool, one durable consumer for each (machine profile,
bundle, model), shared by the workers that pull for it. Promises that a published job is stored
before `publish_job` returns, and that a delivery is gone only after `ack` or `terminate` was
confirmed. Delivery is at least once: whoever runs a job may see it again.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from sie_runtime.bus import Bus, BusUnavailable
from sie_runtime.settings import setting
from sie_schemas.errors import Later
from sie_schemas.jobs import consumer_name, stream_name, stream_subjects, subject

__all__ = ["Delivery", "Puller", "WorkQueue", "WorkQueueSettings"]

_LOG: Final = logging.getLogger(__name__)
_EXISTS: Final = frozenset({10058, 10148, 10013})
"""JetStream's codes for a stream or a consumer that is there already, with another config."""


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
        20.0, help="seconds that one pull stays open at the broker"
    )
    queue_renew_s: float = setting(
        0.5, help="seconds before a consumer that could not be made is tried again"
    )


class Delivery:
    """One job as the queue handed it over."""

    def __init__(self, message: Msg, deliveries_max: int) -> None:
        self._message = message
        self.data: Final = bytes(message.data)
        self.delivery_count: Final = int(message.metadata.num_delivered or 1)
        self.last_delivery: Final = self.delivery_count >= deliveries_max

    async def ack(self) -> None:
        """The job is done. Returns when the broker has it; a lost ack means one more delivery."""
        await self._say(self._message.ack_sync())

    async def retry(self, delay_s: float) -> None:
        """Give the job to whoever pulls next, after a pause."""
        await self._say(self._message.nak(delay=delay_s))

    async def extend(self) -> None:
        """It takes longer: start the wait for the acknowledgement anew."""
        await self._say(self._message.in_progress())

    async def terminate(self) -> None:
        """Never deliver it again."""
        await self._say(self._message.term())

    async def _say(self, word: Any) -> None:
        try:
            await word
        except (NatsError, NatsTimeoutError, TimeoutError) as error:
            _LOG.warning(
                "a word on a job did not reach the broker: %s", error or type(error).__name__
            )


class WorkQueue:
    """The queue of every pool. Owner: the process's main task."""

    def __init__(self, bus: Bus, settings: WorkQueueSettings | None = None) -> None:
        self._bus = bus
        self._settings: Final = settings or WorkQueueSettings()
        self._jetstream = bus.client.jetstream(timeout=self._settings.queue_publish_timeout_s)
        self._streams: set[str] = set()

    async def ensure_stream(self, pool: str) -> None:
        """Make the stream of a pool if it is not there. Raises `BusUnavailable`."""
        if pool in self._streams:
            return
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
        try:
            await self._jetstream.add_stream(config)
        except APIError as error:
            if error.err_code not in _EXISTS:
                raise BusUnavailable(
                    f"the stream of pool {pool!r} cannot be made: {error}"
                ) from error
        except (NatsError, TimeoutError) as error:
            raise BusUnavailable(f"the stream of pool {pool!r} cannot be made: {error}") from error
        self._streams.add(pool)

    async def publish_job(self, *, pool: str, subject: str, data: bytes, job_id: str) -> None:
        """Store a job. Raises `BusUnavailable`, or `Later` QUEUE_FULL.

        After a timeout the job may be stored or not; the same `job_id` is stored once.
        """
        await self.ensure_stream(pool)
        try:
            await self._publish(subject, data, job_id)
        except NoRespondersError:
            # The broker lost its store, or there is no leader for the stream just now.
            self._streams.discard(pool)
            await self.ensure_stream(pool)
            try:
                await self._publish(subject, data, job_id)
            except NoRespondersError as error:
                raise BusUnavailable(f"the queue of pool {pool!r} has no leader") from error

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
                f"consumer {config.durable_name!r} cannot be made: {error}"
            ) from error

    async def _publish(self, subject: str, data: bytes, job_id: str) -> None:
        self._bus.require_connected()
        timeout_s = self._settings.queue_publish_timeout_s
        try:
            answer = await self._bus.client.request(
                subject, data, timeout=timeout_s, headers={"Nats-Msg-Id": job_id}
            )
        except NoRespondersError:
            raise
        except (NatsTimeoutError, TimeoutError) as error:
            raise BusUnavailable(
                f"the broker did not store the job within {timeout_s:g} s"
            ) from error
        except NatsError as error:
            raise BusUnavailable(f"the broker does not take jobs: {error}") from error
        outcome = json.loads(answer.data)
        if "error" in outcome:
            problem = outcome["error"].get("description", "unknown")
            raise Later(f"the queue refuses the job: {problem}", code="QUEUE_FULL")


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
        self._woken = asyncio.Event()
        self._closing = False
        self._renewal_due = False
        """Whether stream and consumer may be gone, and are to be made sure of before asking."""
        self._subscription: Any = None
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
        self._task = asyncio.create_task(
            self._keep_asking(), name=f"pull-{self._config.durable_name}"
        )

    def wake(self) -> None:
        """Demand may have changed. Raises what ended the pulling, if anything did."""
        if self._task is not None and self._task.done() and not self._closing:
            self._task.result()
        self._woken.set()

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
            if (
                self._asked
                and loop.time() - self._asked_at > self._settings.queue_pull_expires_s + 1
            ):
                # The broker's word that the pull expired was lost: ask anew.
                self._asked = 0
            wanted = self._demand() - self._asked
            # Ask again before the old pull is used up, but not for each single job.
            if wanted > 0 and (self._asked == 0 or wanted >= self._asked):
                await self._ask(wanted)
            await self._sleep(self._settings.queue_pull_expires_s / 2)

    async def _sleep(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _ask(self, count: int) -> None:
        if not self._bus.connected:
            return
        request = {"batch": count, "expires": int(self._settings.queue_pull_expires_s * 1e9)}
        name = f"$JS.API.CONSUMER.MSG.NEXT.{stream_name(self._pool)}.{self._config.durable_name}"
        try:
            await self._bus.client.publish(name, json.dumps(request).encode(), reply=self._inbox)
        except NatsError as error:
            _LOG.warning("a pull could not be sent: %s", error)
            return
        self._asked += count
        self._asked_at = asyncio.get_running_loop().time()

    async def _received(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is None:
            self._asked = max(0, self._asked - 1)
            delivery = Delivery(message, self._settings.queue_deliveries_max)
            if self._closing:
                # It was on its way when the pull ended: at once to somebody else.
                await delivery.retry(0)
            else:
                self._on_job(delivery)
        else:
            # 404 and 408: the pull is over; 409: the consumer is gone or limits were reached.
            pending = int((message.headers or {}).get("Nats-Pending-Messages", self._asked) or 0)
            self._asked = max(0, self._asked - pending)
            if status in ("409", "503"):
                self._asked = 0
                self._renewal_due = True
        self._woken.set()

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
        self._subscription = await self._bus.client.subscribe(self._inbox, cb=self._received)

    async def _unlisten(self) -> None:
        try:
            # Drained, not dropped: the broker takes the open pull back, and what it had sent
            # until then is given back by `_received`.
            await self._subscription.drain()
        except (NatsError, TimeoutError):
            _LOG.debug("the connection was gone before the pull's inbox")
