"""A worker on the real queue that answers as the echo does, on one lane or on several."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial

from tests.support.edge import Edge
from tests.support.gateway_world import echo_result, heartbeat
from tests.support.provisioned import provided_consumer

from sie_runtime.broker.bus import Bus, BusUnavailable, NoResponders
from sie_runtime.streams.deliveries import Delivery, WorkQueueSettings
from sie_runtime.streams.puller import Puller
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas.errors import TimeRanOut
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RECEIPT_DECODER,
    Job,
    ResultBatch,
)

__all__ = ["QueueLane", "QueueWorker", "beat_until_heard", "working"]


@dataclass(frozen=True)
class QueueLane:
    """The jobs that one consumer of the queue is for."""

    pool: str = "default"
    machine_profile: str = "cpu"
    bundle: str = "default"
    model_id: str = "org/dense"


class QueueWorker:
    """A worker on the real queue: pulls, answers, has it confirmed, acknowledges."""

    def __init__(
        self,
        bus: Bus,
        lanes: Sequence[QueueLane] = (QueueLane(),),
        # A job handed to a worker that has just stopped comes again soon.
        ack_wait_s: float = 0.5,
    ) -> None:
        self._bus = bus
        self._lanes = lanes
        self._ack_wait_s = ack_wait_s
        self._queue = WorkQueue(bus, WorkQueueSettings(queue_ack_wait_s=ack_wait_s))
        self._deliveries: asyncio.Queue[tuple[QueueLane, Delivery] | None] = asyncio.Queue()
        self.answering = asyncio.Event()
        """Cleared, jobs are taken and wait."""
        self.answering.set()
        self.seen: list[Job] = []
        self.places: list[QueueLane] = []
        """The lane of each job in `seen`."""
        self.confirmed: list[str] = []
        self.undeliverable: list[str] = []

    async def run(self) -> None:
        """Work until `stop`."""
        pullers = [await self._open(lane) for lane in self._lanes]
        try:
            while (taken := await self._deliveries.get()) is not None:
                await self.answering.wait()
                await self._answer(*taken)
        finally:
            for puller in pullers:
                await puller.close()

    def stop(self) -> None:
        """End after what was taken. A cancellation could be lost inside the client library."""
        self._deliveries.put_nowait(None)
        self.answering.set()

    @property
    def waiting(self) -> int:
        """Jobs that were taken and not begun."""
        return self._deliveries.qsize()

    async def _open(self, lane: QueueLane) -> Puller:
        """A broker that has just started may not have its store ready yet."""
        while True:
            try:
                await provided_consumer(self._bus, asdict(lane), queue_ack_wait_s=self._ack_wait_s)
                return await self._queue.open_puller(
                    pool=lane.pool,
                    machine_profile=lane.machine_profile,
                    bundle=lane.bundle,
                    model_id=lane.model_id,
                    on_job=partial(self._take, lane),
                    demand=lambda: 64,
                )
            except BusUnavailable:
                await asyncio.sleep(0.02)

    def _take(self, lane: QueueLane, delivery: Delivery) -> None:
        self._deliveries.put_nowait((lane, delivery))

    async def _answer(self, lane: QueueLane, delivery: Delivery) -> None:
        job = JOB_DECODER.decode(delivery.data)
        self.seen.append(job)
        self.places.append(lane)
        batch = ResultBatch(worker_id="w1", results=(echo_result(job),))
        try:
            answer = await self._bus.request(job.reply_to, JOB_ENCODER.encode(batch), timeout_s=2)
        except (NoResponders, TimeRanOut):
            # The gateway is gone, or it died with the answer in its hands.
            self.undeliverable.append(job.job_id)
        else:
            self.confirmed.extend(RECEIPT_DECODER.decode(answer).job_ids)
        delivery.ack()


@asynccontextmanager
async def working(
    bus: Bus, lanes: Sequence[QueueLane] = (QueueLane(),), *, ack_wait_s: float = 0.5
) -> AsyncIterator[QueueWorker]:
    """One that works until the context ends."""
    worker = QueueWorker(bus, lanes, ack_wait_s)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await running


async def beat_until_heard(bus: Bus, edge: Edge) -> None:
    """A first word may come before the gateway's interest has reached the broker."""
    while not edge.parts.watch.live():
        await bus.publish("sie.health.w1", JOB_ENCODER.encode(heartbeat()))
        await asyncio.sleep(0.01)
