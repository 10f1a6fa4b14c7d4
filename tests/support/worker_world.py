"""A worker's surroundings for a test: a real broker, a scripted device, a gateway's inbox.

The worker is the real one, wired as in its process, but for the log: the test hands it a resolver.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.provisioned import provide
from tests.support.scripted_execution import ScriptedExecution, scripted_execution

from sie_config.stream.queues import Queues
from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_runtime.broker.bus import Bus, BusSettings, Message
from sie_runtime.streams.deliveries import WorkQueueSettings
from sie_runtime.streams.provisions import Provisions, ProvisionSettings
from sie_runtime.streams.work_queue import WorkQueue
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.fleet import HEARTBEAT_DECODER, Heartbeat
from sie_schemas.items import Item
from sie_schemas.jobs import RESULT_DECODER, Job, JobResult, ResultReceipt, subject
from sie_worker.jobs.holds import Holds
from sie_worker.jobs.results import DeadLetterBox, Requests, Results
from sie_worker.settings import WorkerSettings
from sie_worker.worker import Worker

__all__ = [
    "LOG_ID",
    "GatewayInbox",
    "ScriptedReplica",
    "WorkerWorld",
    "model_document",
    "resolver_of",
    "results_of",
    "worker_world",
]

LOG_ID = "1" * 32
_ENCODER = msgspec.msgpack.Encoder()


def model_document(model_id: str, *, cost_max: int = 4096, wait_ms: float = 5.0) -> dict[str, Any]:
    """A model that the scripted device runs; another `cost_max` is another revision."""
    return admit_document(
        "model",
        {
            "model_id": model_id,
            "source": {
                "type": "package",
                "package": "scripted",
                "distribution": "scripted",
                "version": "1",
            },
            "tasks": {"encode": {}, "score": {}},
            "profiles": {
                "default": {
                    "backend": "scripted",
                    "batch_cost_max": cost_max,
                    "batch_wait_ms": wait_ms,
                }
            },
        },
    )


def results_of(
    bus: Requests,
    holds: Holds,
    *,
    dead_letters: DeadLetterBox,
    clock: Callable[[], float],
    message_bytes_max: int = 10**6,
    chunked_bytes_max: int = 10**6,
) -> Results:
    """The deliverer of a worker called `w`, which asks again at once where nobody confirms."""
    return Results(
        bus,
        holds,
        worker_id="w",
        confirm_timeout_s=1.0,
        retry_s=0.0,
        message_bytes_max=message_bytes_max,
        chunked_bytes_max=chunked_bytes_max,
        dead_letters=dead_letters,
        clock=clock,
    )


def resolver_of(
    epoch: int,
    *models: Mapping[str, Any],
    pinned: tuple[str, ...] = (),
    backends: Sequence[str] = ("scripted",),
) -> Resolver:
    """A resolver with a bundle and a pool for these models, of which the pool pins some."""
    bundle = admit_document("bundle", {"name": "default", "backends": list(backends)})
    pool = admit_document("pool", {"name": "default", "pinned_models": list(pinned)})
    found = [
        Entity("bundle", "default", 1, canonical.dumps(bundle)),
        Entity("pool", "default", 1, canonical.dumps(pool)),
    ]
    for model in models:
        document = canonical.dumps(dict(model))
        found.append(Entity("model", str(model["model_id"]), epoch, document))
    registry = Registry.of(found)
    return Resolver.of(registry, Position(LOG_ID, epoch, "0" * 64, registry.digest, 1))


class ScriptedReplica:
    """A log follower that is where the test puts it."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self._moved = asyncio.Event()

    @property
    def not_ready(self) -> str:
        """As the follower says."""
        return "" if self.position is not None else "no verified registry is loaded yet"

    def move(self, position: Position | None) -> None:
        """Be at a position."""
        self.position = position
        self._moved.set()

    async def wait_for_epoch(self, log_id: str, epoch: int, *, timeout_s: float) -> bool:
        """As the follower does."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.position is None or self.position.epoch < epoch:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True


class GatewayInbox:
    """Takes results as a gateway does, and confirms them."""

    def __init__(self, bus: Bus, subject_name: str) -> None:
        self._bus = bus
        self.subject = subject_name
        self.results: list[JobResult] = []
        self.messages = 0
        self._subscription: Any = None

    async def open(self) -> None:
        """Listen."""
        self._subscription = await self._bus.subscribe(self.subject, self._take)

    async def close(self) -> None:
        """Be gone."""
        await self._subscription.unsubscribe()

    async def _take(self, message: Message) -> None:
        self.messages += 1
        batch = RESULT_DECODER.decode(message.data)
        self.results += batch.results
        receipt = ResultReceipt(job_ids=tuple(result.job_id for result in batch.results))
        await message.respond(_ENCODER.encode(receipt))


class WorkerWorld:
    """The parts that a test needs to speak to one worker."""

    def __init__(
        self, bus: Bus, worker: Worker, execution: ScriptedExecution, replica: ScriptedReplica
    ) -> None:
        self.bus = bus
        self.worker = worker
        self.execution = execution
        self.replica = replica
        self.stop = asyncio.Event()
        self.registry = resolver_of(1).registry
        self.moved = asyncio.Event()
        self.inbox = GatewayInbox(bus, "sie.result.one")
        self.heartbeats: list[Heartbeat] = []
        self._queue = WorkQueue(bus, WorkQueueSettings())
        self._jobs = 0

    def advance(self, resolver: Resolver) -> None:
        """The log has moved."""
        self.registry = resolver.registry
        self.moved.set()
        self.replica.move(resolver.position)
        self.worker.advance(resolver)

    async def publish(self, resolver: Resolver, model_id: str, *texts: str, **changed: Any) -> Job:
        """Put a job on the queue, as a gateway does."""
        self._jobs += 1
        assert resolver.position is not None
        job = Job(
            job_id=f"request{self._jobs}.0",
            request_id=f"request{self._jobs}",
            first_item=0,
            operation="encode",
            log_id=LOG_ID,
            epoch=resolver.position.epoch,
            model_id=model_id,
            profile="default",
            model_revision=resolver.resolve(model_id).revision,
            items=tuple(Item(text=text, id=f"item-{n}") for n, text in enumerate(texts)),
            reply_to=self.inbox.subject,
            deadline=time.time() + 10,
            published_at=time.time(),
        )
        job = msgspec.structs.replace(job, **changed)
        await self._queue.publish_job(
            subject=subject("default", "cpu", "default", model_id),
            data=_ENCODER.encode(job),
            job_id=job.job_id,
        )
        return job

    async def result_of(self, job: Job) -> JobResult:
        """The one result of a job."""
        await until(lambda: self._results(job))
        return self._results(job)[0]

    def _results(self, job: Job) -> list[JobResult]:
        return [result for result in self.inbox.results if result.job_id == job.job_id]

    async def jobs_on_queue(self) -> int:
        """Jobs that the queue still holds, delivered or not."""
        answer = await self.bus.request("$JS.API.STREAM.INFO.WORK_POOL_default", b"", timeout_s=2)
        return int(json.loads(answer)["state"]["messages"])

    def heard(self, message: Message) -> None:
        """Remember a heartbeat."""
        self.heartbeats.append(HEARTBEAT_DECODER.decode(message.data))


@asynccontextmanager
async def worker_world(
    folder: Path, *, brokers: str | None = None, worker_id: str = "worker-1", **changed: Any
) -> AsyncIterator[WorkerWorld]:
    """A worker that runs, on a broker of its own where none is given; `changed` are settings."""
    broker = nullcontext(brokers) if brokers is not None else nats_server(folder / "nats")
    async with broker as url, scripted_execution(folder) as execution:
        values: dict[str, Any] = {
            "nats_url": url,
            "socket_path": (str(execution.path),),
            "reconnect_s": 0.01,
            "retry_delay_s": 0.02,
            "confirm_retry_s": 0.02,
            "confirm_timeout_s": 0.5,
            "catch_up_s": 0.3,
            "drain_s": 3.0,
            "placement_look_s": 0.05,
            "expiry_tick_s": 0.02,
        } | changed
        settings = WorkerSettings(**values)
        # The streams are made over this one: with as many copies as the worker's.
        test_settings = BusSettings(nats_url=url, nats_replicas=settings.nats_replicas)
        test_bus = await Bus.connect(test_settings, role="gateway", process_id="test")
        worker_bus = await Bus.connect(settings, role="worker", process_id=worker_id)
        assert await test_bus.wait_connected(5)
        assert await worker_bus.wait_connected(5)
        replica = ScriptedReplica()
        worker = Worker(
            settings,
            worker_id=worker_id,
            bus=worker_bus,
            replica=replica,
            report_soon=lambda: None,
        )
        world = WorkerWorld(test_bus, worker, execution, replica)
        queues = _queues(test_bus, settings, world)
        await provide(test_bus, ["default"])
        await test_bus.subscribe("sie.health.*", world.heard)
        await world.inbox.open()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(queues.run(world.stop))
                group.create_task(worker.run(world.stop))
                yield world
                world.stop.set()
        finally:
            await worker_bus.close()
            await test_bus.close()


def _queues(bus: Bus, settings: WorkerSettings, world: WorkerWorld) -> Queues:
    """The broker as sie-config keeps it."""

    async def moved() -> None:
        await world.moved.wait()
        world.moved.clear()

    bounds = ProvisionSettings(
        queue_ack_wait_s=settings.queue_ack_wait_s,
        queue_deliveries_max=settings.queue_deliveries_max,
    )
    return Queues(
        bus,
        Provisions(bus, bounds),
        registry=lambda: world.registry,
        moved=moved,
        verify_s=0.3,
        retry_s=0.05,
    )
