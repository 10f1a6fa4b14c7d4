"""Deliveries: a job as the queue hands it over, and what is said of it.

*shell.* What is said is sent and not waited for. Delivery is at least once: whoever runs a job may
see it again, also where its acknowledgement was lost on the way.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.settings import constant

__all__ = ["Delivery", "DeliverySettings", "WorkQueueSettings", "acknowledge"]

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeliverySettings:
    """The settings of handing out jobs. sie-config and the workers of one cluster use the same."""

    queue_ack_wait_s: float = constant(
        30.0, help="seconds without a word before a job goes to another worker"
    )
    queue_deliveries_max: int = constant(5, help="deliveries of one job, the first included")


@dataclass(frozen=True, kw_only=True)
class WorkQueueSettings(DeliverySettings):
    """The settings of a process that uses the queue."""

    queue_publish_timeout_s: float = constant(
        5.0, help="seconds to wait for the broker to store a job"
    )
    queue_pull_expires_s: float = constant(
        20.0, help="seconds that one pull, for one job, stays open where no jobs come"
    )
    # Nobody can withdraw a pull: of sixteen jobs a stopped worker took half, and half again.
    queue_pull_brisk_s: float = constant(
        2.0,
        help="the same where jobs came within a minute, and where no answer came yet: so long may "
        "a worker that stopped take jobs which it does not run; under a gateway's worker_dead_s by "
        "a heartbeat",
    )
    queue_renew_s: float = constant(
        0.5, help="longest pause before a consumer that is not there is pulled from again"
    )


class Delivery:
    """One job as the queue handed it over.

    What is said of it is sent and not waited for; where the connection is lost it comes again.
    Where a queue has one copy, only the broker's life that handed it over is told. A later one may
    have forgotten this job and given its place to another, which the word would end. Several copies
    forget nothing, and any of their brokers takes the word.
    """

    __slots__ = (
        "_bus",
        "_reply",
        "_server_id",
        "data",
        "delivery_count",
        "last_delivery",
        "stored_at",
    )

    def __init__(self, bus: Bus, data: bytes, reply: bytes, deliveries_max: int) -> None:
        self._bus = bus
        self._server_id = bus.server_id
        self._reply = reply
        self.data: Final = data
        self.delivery_count, self.stored_at = _told_of(reply)
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
    bus = deliveries[0]._bus
    any_broker, server_id = bus.stream_replicas > 1, bus.server_id
    replies = [each._reply for each in deliveries if any_broker or each._server_id == server_id]
    if len(replies) < len(deliveries):
        _LOG.info("%d jobs are of a broker that ended", len(deliveries) - len(replies))
    try:
        bus.send_to_all(replies, word)
    except BusUnavailable as error:
        _LOG.warning(
            "a word on %d jobs did not reach the broker: %s", len(deliveries), error.message
        )


def _told_of(reply: bytes) -> tuple[int, float]:
    """The number of deliveries, and the Unix time at which the broker stored the job.

    Of `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stored>.<handed
    out>.<nanoseconds>.<pending>`, which may go on.
    """
    tokens = reply.split(b".")
    first = 4 if len(tokens) == 9 else 6
    return int(tokens[first]), int(tokens[first + 3]) / 1e9
