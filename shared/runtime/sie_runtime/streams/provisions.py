"""Provisions: what the broker keeps for the cluster beside the log, as it is to be.

*shell.* Each pool has a work stream, and in it a consumer for each model on each kind of worker.
Beside them are dead letters, leases, large jobs, and the broker's word on jobs that nobody ended.
Only sie-config makes them. Whoever may make a stream or a consumer chooses what the broker
publishes, and where, past everything that a user may not. Promises that what is there keeps its
messages and becomes what the settings say, as far as the broker changes it.
"""

import json
from dataclasses import dataclass
from typing import Final

from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    PersistMode,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from sie_runtime.broker.bus import Bus, BusUnavailable, reason_of
from sie_runtime.settings import constant, setting
from sie_runtime.streams import dead_letters, lease_store, payload_store, sweeping
from sie_runtime.streams.deliveries import DeliverySettings
from sie_runtime.streams.shared_stream import make_stream
from sie_schemas.jobs import consumer_name, stream_name, stream_subjects, subject

__all__ = ["ProvisionSettings", "Provisions"]

_PAGES_MAX: Final = 1000
"""Ends a broker that pages for ever."""
_TIMEOUT_S: Final = 5.0
"""A broker answers in milliseconds, and within seconds while it elects a leader."""
_PENDING_MAX: Final = 100_000
"""Jobs that workers hold at one time; their own bounds come first."""
_LEASE_BYTES_MAX: Final = 128 * 1024
"""Twice the body that a gateway takes for a lease."""
_LEASES_BYTES_MAX: Final = 1024 * _LEASE_BYTES_MAX
"""As many as the broker gives in one answer."""


@dataclass(frozen=True, kw_only=True)
class ProvisionSettings(DeliverySettings):
    """Bounds of what the broker keeps."""

    queue_age_max_s: float = setting(
        1800.0, help="seconds after which a job that nobody took is dropped"
    )
    queue_messages_max: int = setting(
        100_000, help="jobs that a pool may hold before new ones are refused"
    )
    queue_consumers_max: int = constant(
        100_000, help="consumers of a pool: models times kinds of worker"
    )
    payload_store_bytes_max: int = setting(
        1024 * 1024 * 1024, help="bytes of all large jobs together before new ones are refused"
    )
    payload_age_max_s: float = constant(
        1800.0, help="seconds after which a large job is gone, whatever its chunks say"
    )
    dead_letters_max: int = setting(10_000, help="newest dead letters that are kept")
    dead_letters_bytes_max: int = constant(
        1024 * 1024 * 1024, help="bytes of all dead letters; beyond it the oldest are forgotten"
    )
    dead_letter_age_max_s: float = constant(
        14 * 86400.0, help="seconds after which a dead letter is forgotten"
    )
    sweep_age_max_s: float = constant(
        86400.0, help="seconds that the broker's word on a job that crashes workers is kept"
    )


class Provisions:
    """The streams and consumers of one broker. Every method raises `BusUnavailable`."""

    def __init__(self, bus: Bus, settings: ProvisionSettings) -> None:
        self._bus = bus
        self._settings = settings
        self._jetstream = bus.client.jetstream(timeout=_TIMEOUT_S)

    async def ensure_shared(self) -> None:
        """Make or mend what all pools share."""
        settings = self._settings
        for config, holds in (
            (_leases(), "leases"),
            (_large_jobs(settings), "large jobs"),
            (_dead_letters(settings), "dead letters"),
            (_advisories(settings), "advisories"),
        ):
            await self._ensure(config, holds)
        sweeper = ConsumerConfig(durable_name=sweeping.CONSUMER, ack_policy=AckPolicy.EXPLICIT)
        await self._add_consumer(sweeping.STREAM, sweeper)

    async def ensure_pool(self, pool: str) -> None:
        """Make or mend the work stream of a pool.

        Its only copy is written without waiting for the disk, which paid 2.3 syncs a request. What
        a broker forgets when it is killed, gateways send again. Several copies hold by their
        number.
        """
        settings = self._settings
        config = StreamConfig(
            name=stream_name(pool),
            subjects=[stream_subjects(pool)],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            # A full queue refuses the newest, whose client can be told; the oldest was promised.
            discard=DiscardPolicy.NEW,
            max_age=settings.queue_age_max_s,
            max_msgs=settings.queue_messages_max,
            max_consumers=settings.queue_consumers_max,
            # A gateway sends a job again, under the same id, only while its client waits: 60 s
            # unless it is set otherwise.
            duplicate_window=60,
        )
        if self._bus.stream_replicas == 1:
            config.persist_mode = PersistMode.ASYNC
        await self._ensure(config, f"pool {pool!r}")

    async def consumers(self, pool: str) -> frozenset[str]:
        """The names of a pool's consumers."""
        names: set[str] = set()
        for _ in range(_PAGES_MAX):
            request = json.dumps({"offset": len(names)}).encode()
            answer = await self._bus.request(
                f"$JS.API.CONSUMER.NAMES.{stream_name(pool)}", request, timeout_s=_TIMEOUT_S
            )
            page = json.loads(answer)
            if "error" in page:
                raise BusUnavailable(f"the consumers of pool {pool!r} are not listed: {page}")
            found = page.get("consumers") or []
            names.update(found)
            if not found or len(names) >= page.get("total", 0):
                break
        return frozenset(names)

    async def ensure_consumer(
        self, *, pool: str, machine_profile: str, bundle: str, model_id: str
    ) -> None:
        """Make or mend the consumer that the workers of one kind share for a model."""
        config = ConsumerConfig(
            durable_name=consumer_name(machine_profile, bundle, model_id),
            filter_subject=subject(pool, machine_profile, bundle, model_id),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._settings.queue_ack_wait_s,
            max_deliver=self._settings.queue_deliveries_max,
            max_ack_pending=_PENDING_MAX,
        )
        await self._add_consumer(stream_name(pool), config)

    async def _ensure(self, config: StreamConfig, holds: str) -> None:
        config.num_replicas = self._bus.stream_replicas
        await make_stream(self._bus, config, holds=holds, timeout_s=_TIMEOUT_S, mend=True)

    async def _add_consumer(self, stream: str, config: ConsumerConfig) -> None:
        self._bus.require_connected()
        try:
            await self._jetstream.add_consumer(stream, config)
        except NotFoundError as error:
            raise BusUnavailable(f"the stream {stream} is gone") from error
        except (APIError, NatsError, TimeoutError) as error:
            raise BusUnavailable(
                f"consumer {config.durable_name!r} cannot be made: {reason_of(error)}"
            ) from error


def _leases() -> StreamConfig:
    return StreamConfig(
        name=lease_store.STREAM,
        subjects=[f"{lease_store.SUBJECTS}.>"],
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        # The next word on a subject takes the place of the last; a header that does the same
        # may name the whole bucket, and so would empty it.
        max_msgs_per_subject=1,
        max_msg_size=_LEASE_BYTES_MAX,
        max_bytes=_LEASES_BYTES_MAX,
        allow_direct=True,
        allow_msg_ttl=True,
    )


def _large_jobs(settings: ProvisionSettings) -> StreamConfig:
    return StreamConfig(
        name=payload_store.STREAM,
        subjects=[f"{payload_store.SUBJECTS}.>"],
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_age=settings.payload_age_max_s,
        max_bytes=settings.payload_store_bytes_max,
        max_msgs_per_subject=1,
        allow_direct=True,
        allow_msg_ttl=True,
    )


def _dead_letters(settings: ProvisionSettings) -> StreamConfig:
    return StreamConfig(
        name=dead_letters.STREAM,
        subjects=[f"{dead_letters.SUBJECTS}.>"],
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_msgs=settings.dead_letters_max,
        max_bytes=settings.dead_letters_bytes_max,
        max_age=settings.dead_letter_age_max_s,
        allow_direct=True,
        duplicate_window=120,
    )


def _advisories(settings: ProvisionSettings) -> StreamConfig:
    return StreamConfig(
        name=sweeping.STREAM,
        subjects=[sweeping.ADVISORIES],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=settings.sweep_age_max_s,
    )
