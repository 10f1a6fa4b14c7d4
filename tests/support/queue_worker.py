"""A worker on the real queue that answers as the echo does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.edge import Edge
from tests.support.gateway_world import echo_result, heartbeat

from sie_runtime.bus import Bus, BusUnavailable, NoResponders
from sie_runtime.work_queue import Delivery, Puller, WorkQueue, WorkQueueSettings
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RECEIPT_DECODER,
    Job,
    ResultBatch,
)

__all__ = ["QueueWorker", "beat_until_heard", "working"]


class QueueWorker:
    """A worker on the real queue: pulls, answers, has it confirmed, acknowledges."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        # A job handed to a worker that has just stopped comes again soon.
        self._queue = WorkQueue(bus, WorkQueueSettings(queue_ack_wait_s=0.5))
        self._deliveries: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self.seen: list[Job] = []
        self.confirmed: list[str] = []
        self.undeliverable: list[str] = []

    async def run(self) -> None:
        """Work until `stop`."""
        puller = await self._open()
        try:
            while (delivery := await self._deliveries.get()) is not None:
                await self._answer(delivery)
        finally:
            await puller.close()

    def stop(self) -> None:
        """End after what was taken. A cancellation could be lost inside the client library."""
        self._deliveries.put_nowait(None)

    async def _open(self) -> Puller:
        """A broker that has just started may not have its store ready yet."""
        while True:
            try:
                return await self._queue.open_puller(
                    pool="default",
                    machine_profile="cpu",
                    bundle="default",
                    model_id="org/dense",
                    on_job=self._deliveries.put_nowait,
                    demand=lambda: 64,
                )
            except BusUnavailable:
                await asyncio.sleep(0.02)

    async def _answer(self, delivery: Delivery) -> None:
        job = JOB_DECODER.decode(delivery.data)
        self.seen.append(job)
        batch = ResultBatch(worker_id="w1", results=(echo_result(job),))
        try:
            answer = await self._bus.request(job.reply_to, JOB_ENCODER.encode(batch), timeout_s=2)
        except NoResponders:
            self.undeliverable.append(job.job_id)
        else:
            self.confirmed.extend(RECEIPT_DECODER.decode(answer).job_ids)
        await delivery.ack()


@asynccontextmanager
async def working(bus: Bus) -> AsyncIterator[QueueWorker]:
    """One that works until the context ends."""
    worker = QueueWorker(bus)
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
