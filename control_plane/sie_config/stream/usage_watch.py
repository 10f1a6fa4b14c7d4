"""The watch on the broker: how much waits in each pool's queue, how old it is, and the room left.

*shell.* One loop, because only sie-config may ask the broker. Promises that no figure is shown
which is older than two looks. While the broker is away its series are gone, and not what they were.
The same figures go to `told`, as what a cluster is judged by.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from prometheus_client import Gauge

from sie_core.troubles import Signals
from sie_runtime.broker.bus import Bus
from sie_runtime.process.waiting import first_of
from sie_runtime.streams.broker_usage import BrokerUsage, QueueUsage, read_usage
from sie_schemas.errors import SIEError

__all__ = ["watch_usage"]

_LOG: Final = logging.getLogger(__name__)
_JOBS: Final = Gauge(
    "sie_config_queue_jobs", "Jobs on a pool's queue, those included that workers hold.", ["pool"]
)
_JOBS_MAX: Final = Gauge(
    "sie_config_queue_jobs_max", "Jobs that a pool's queue may hold before it refuses.", ["pool"]
)
_BYTES: Final = Gauge("sie_config_queue_bytes", "Bytes of a pool's queue.", ["pool"])
_OLDEST: Final = Gauge(
    "sie_config_queue_oldest_seconds", "Age of the oldest job on a pool's queue.", ["pool"]
)
_STORED: Final = Gauge("sie_config_jetstream_bytes", "Bytes that JetStream holds on its disk.")
_STORED_MAX: Final = Gauge(
    "sie_config_jetstream_bytes_max",
    "Bytes that JetStream may hold: the least of the account's and the brokers'; 0 is not known.",
)
_LETTERS: Final = Gauge("sie_config_dead_letters", "Dead letters that are kept.")
_UP: Final = Gauge("sie_config_broker_up", "1 while the broker answers sie-config, else 0.")


async def watch_usage(
    bus: Bus,
    stop: asyncio.Event,
    *,
    every_s: float,
    bytes_max: int = 0,
    told: Callable[[Signals], None] = lambda _: None,
) -> None:
    """Look until `stop`. `bytes_max` is what the brokers may store; 0 is not known."""
    _UP.set(0)
    while not stop.is_set():
        try:
            usage = await read_usage(bus)
        except SIEError as error:
            _LOG.debug("the broker's usage is not known", extra={"reason": error.message})
            _UP.set(0)
            _clear()
            told(Signals(broker_up=False, broker_why=bus.reach.why_not or error.message))
        else:
            # Whichever bound is met first refuses; one that is 0 is none.
            bounds = [each for each in (usage.bytes_max, bytes_max) if each]
            usage = replace(usage, bytes_max=min(bounds, default=None))
            now = time.time()
            _show(usage, now)
            told(_signals(usage, now))
        await first_of(stop.wait(), timeout_s=every_s)


def _show(usage: BrokerUsage, now: float) -> None:
    _clear()
    for pool, queue in usage.queues.items():
        _JOBS.labels(pool).set(queue.jobs)
        _JOBS_MAX.labels(pool).set(queue.jobs_max)
        _BYTES.labels(pool).set(queue.bytes)
        _OLDEST.labels(pool).set(_age_s(queue, now))
    _STORED.set(usage.bytes)
    _STORED_MAX.set(usage.bytes_max or 0)
    _LETTERS.set(usage.dead_letters)
    _UP.set(1)


def _signals(usage: BrokerUsage, now: float) -> Signals:
    return Signals(
        broker_up=True,
        stored=usage.bytes,
        stored_max=usage.bytes_max,
        dead_letters=usage.dead_letters,
        queues={
            pool: (queue.jobs, queue.jobs_max, _age_s(queue, now))
            for pool, queue in usage.queues.items()
        },
    )


def _age_s(queue: QueueUsage, now: float) -> float:
    return max(0.0, now - queue.oldest_at) if queue.oldest_at is not None else 0.0


def _clear() -> None:
    for gauge in (_JOBS, _JOBS_MAX, _BYTES, _OLDEST):
        gauge.clear()
