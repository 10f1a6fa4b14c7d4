"""A gateway's surroundings in memory: a registry, a bus, and a worker that answers as told."""

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_gateway.application import build_app
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.http.app import GatewayApp
from sie_gateway.leases.lease_desk import Leases
from sie_gateway.parts import Parts, opened_parts
from sie_gateway.settings import GatewaySettings
from sie_runtime.broker.bus import BusUnavailable, NoResponders
from sie_runtime.broker.protocols import Incoming
from sie_runtime.streams.lease_store import HeldLease, LeaseMoved, LeaseTable
from sie_schemas import arrays, canonical
from sie_schemas.api.leases import Lease
from sie_schemas.documents import admit_document
from sie_schemas.errors import SIEError
from sie_schemas.fleet import Heartbeat
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RECEIPT_DECODER,
    Job,
    JobResult,
    ResultBatch,
    Timing,
)

__all__ = [
    "LOG_ID",
    "Echo",
    "MemoryBus",
    "MemoryLeases",
    "World",
    "echo_result",
    "gateway_world",
    "heartbeat",
    "model",
    "quiet_app",
    "resolver_of",
    "standard_resolver",
]

LOG_ID = "ab" * 16
_SOURCE = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}


def quiet_app(
    settings: GatewaySettings,
    parts: Parts,
    resolver: Callable[[], Resolver],
    stop: asyncio.Event,
    asked_for: Callable[[str, str | None], None] = lambda _model_id, _adapter: None,
) -> GatewayApp:
    """The application of a gateway whose replica is ready, and that calls nobody."""
    return build_app(
        settings,
        parts,
        resolver,
        stop,
        replica_not_ready=str,
        reaches=(),
        asked_for=asked_for,
        loads=KindLoads(),
    )


def resolver_of(
    documents: Sequence[tuple[str, str, dict[str, Any]]], *, epoch: int = 7
) -> Resolver:
    """A resolver of (kind, key, document), admitted as the writer would."""
    entities = [
        Entity(kind, key, epoch, canonical.dumps(admit_document(kind, document)))
        for kind, key, document in documents
    ]
    registry = Registry.of(entities)
    return Resolver.of(registry, Position(LOG_ID, epoch, "0" * 64, registry.digest, 1))


def model(model_id: str, tasks: dict[str, Any], **rest: Any) -> tuple[str, str, dict[str, Any]]:
    """A model entity with backend `echo`."""
    document = {
        "model_id": model_id,
        "source": _SOURCE,
        "tasks": tasks,
        "profiles": {"default": {"backend": "echo"}, "fast": {"backend": "echo", "dtype": "bf16"}},
        **rest,
    }
    return "model", model_id, document


def standard_resolver(
    *more: tuple[str, str, dict[str, Any]], epoch: int = 7, generation: int = 1
) -> Resolver:
    """Three models, an adapter, two pools, and more. Another generation has other revisions."""
    legal = {"model_id": "org/dense", "name": "legal", "source": _SOURCE}
    source = _SOURCE | {"version": str(generation)}
    documents = [
        model("org/dense", {"encode": {}}, aliases=["dense"], source=source),
        model("ranker", {"score": {}}),
        model("finder", {"extract": {}}),
        ("adapter", "org/dense/legal", legal),
        ("bundle", "default", {"name": "default", "backends": ["echo"]}),
        ("pool", "default", {"name": "default", "machine_profiles": ["cpu", "l4"]}),
        ("pool", "night", {"name": "night", "machine_profiles": ["cpu"]}),
        *more,
    ]
    return resolver_of(documents, epoch=epoch)


def heartbeat(worker_id: str = "w1", **changed: Any) -> Heartbeat:
    """A ready worker of the default pool, with changes."""
    fields = {
        "worker_id": worker_id,
        "pool": "default",
        "machine_profile": "cpu",
        "bundle": "default",
        "ready": True,
        "log_id": LOG_ID,
        "epoch": 7,
        **changed,
    }
    return msgspec.convert(fields, Heartbeat)


def echo_result(job: Job, *, worker_id: str = "w1", **changed: Any) -> JobResult:
    """A right answer: a text's vector is (its length, its place in the request, adapter or not)."""
    fields: dict[str, Any] = {
        "job_id": job.job_id,
        "request_id": job.request_id,
        "first_item": job.first_item,
        "answers": tuple(_answer(job, index) for index in range(len(job.items))),
        "model_revision": job.model_revision,
        "adapter": job.adapter,
        "timing": Timing(queue_ms=1.0, tokenization_ms=0.5, inference_ms=2.0),
        "input_tokens": 3 * len(job.items),
        "worker_id": worker_id,
        **changed,
    }
    return JobResult(**fields)


def _answer(job: Job, index: int) -> bytes:
    item = job.items[index]
    text = item.text or ""
    answer: dict[str, Any] = {} if item.id is None else {"id": item.id}
    if job.operation == "encode":
        with_adapter = 1 if job.adapter is not None else 0
        vector = np.array([len(text), job.first_item + index, with_adapter], dtype=np.float32)
        for output in job.output_types or ("dense",):
            answer[output] = _vector(output, vector, job.output_dtype)
    elif job.operation == "score":
        answer["score"] = float(len(text))
    else:
        span = {"text": text, "label": "ALL", "score": 1.0, "start": 0, "end": len(text)}
        answer["entities"] = [span]
    return msgspec.msgpack.encode(answer)


def _vector(output: str, vector: NDArray[np.float32], dtype: str) -> dict[str, Any]:
    """A vector as an output: `multivector` is one token's, and `sparse` has index 7."""
    if output == "dense":
        values = arrays.to_wire(arrays.in_dtype(vector, dtype))
        return {"dims": 3, "dtype": dtype, "values": values}
    if output == "multivector":
        values = arrays.to_wire(vector.reshape(1, 3))
        return {"token_dims": 3, "num_tokens": 1, "dtype": "float32", "values": values}
    index = arrays.to_wire(np.array([7], dtype=np.int32))
    values = arrays.to_wire(vector[:1])
    return {"dims": 30_000, "dtype": "float32", "indices": index, "values": values}


@dataclass(frozen=True)
class _Incoming:
    data: bytes
    answers: list[bytes] = field(default_factory=list)

    def answer(self, data: bytes) -> None:
        self.answers.append(data)


@dataclass
class _Subscribed:
    pattern: str
    callback: Callable[[Incoming], Awaitable[None] | None]
    subscriptions: "list[_Subscribed]"

    async def unsubscribe(self) -> None:
        self.subscriptions.remove(self)


class MemoryBus:
    """Bus and work queue of one loop. `connected = False` refuses as a lost broker does."""

    def __init__(self) -> None:
        self.connected = True
        self.published: list[tuple[str, bytes]] = []
        self.jobs: asyncio.Queue[tuple[str, Job]] = asyncio.Queue()
        self._stored: set[str] = set()
        self._reply_to: dict[str, str] = {}
        self._subscriptions: list[_Subscribed] = []

    async def subscribe(
        self, subject: str, callback: Callable[[Incoming], Awaitable[None] | None], /
    ) -> _Subscribed:
        """Listen."""
        subscribed = _Subscribed(subject, callback, self._subscriptions)
        self._subscriptions.append(subscribed)
        return subscribed

    async def publish(self, subject: str, data: bytes, /) -> None:
        """Deliver to every listener before it returns."""
        await self.request(subject, data)

    async def request(self, subject: str, data: bytes) -> list[bytes]:
        """Deliver, and give what was answered."""
        if not self.connected:
            raise BusUnavailable("the bus is away")
        self.published.append((subject, data))
        incoming = _Incoming(data)
        for subscribed in list(self._subscriptions):
            if fnmatch.fnmatchcase(subject, subscribed.pattern):
                waiting = subscribed.callback(incoming)
                if waiting is not None:
                    await waiting
        return incoming.answers

    async def open(self) -> None:
        """There is nothing to listen to."""

    def send_job(
        self,
        *,
        subject: str,
        data: bytes,
        job_id: str,
        heard: Callable[[SIEError | None], None],
        stored: Callable[[str, bytes], None] | None = None,
    ) -> None:
        """Queue."""
        if not self.connected:
            raise BusUnavailable("the bus is away")
        job = JOB_DECODER.decode(data)
        assert job.job_id == job_id
        assert subject.startswith("sie.work.")
        self._reply_to[job_id] = job.reply_to
        if job_id not in self._stored:
            # As the broker does: the same job is stored once.
            self._stored.add(job_id)
            self.jobs.put_nowait((subject, job))
        if stored is not None:
            stored(job_id, b'{"stream": "memory", "seq": %d}' % len(self._stored))
        heard(None)

    def inbox_of(self, job_id: str) -> str:
        """The subject that a job is answered at."""
        return self._reply_to[job_id]

    async def deliver(self, *results: JobResult) -> tuple[str, ...]:
        """Send results of one pool as a worker does; the job ids that were confirmed."""
        batch = ResultBatch(worker_id="w1", results=results)
        inbox = self.inbox_of(results[0].job_id)
        answers = await self.request(inbox, JOB_ENCODER.encode(batch))
        return RECEIPT_DECODER.decode(answers[0]).job_ids if answers else ()


class MemoryAsker:
    """Asks over a memory bus."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The first answer. Raises `NoResponders`."""
        answers = await self._bus.request(subject, data)
        if not answers:
            raise NoResponders(f"nobody listens on {subject}")
        return answers[0]


class MemoryLeases:
    """The lease store in memory. Nothing expires; `connected = False` is a lost broker."""

    def __init__(self) -> None:
        self.connected = True
        self._table = LeaseTable({}, 0)

    async def read(self) -> LeaseTable:
        """Every lease."""
        if not self.connected:
            raise BusUnavailable("the bus is away")
        return self._table

    async def put(self, lease: Lease, /, *, version: int) -> None:
        """Write against a version."""
        if version != (await self.read()).version:
            raise LeaseMoved
        held = HeldLease(lease, version + 1)
        self._table = LeaseTable({**self._table.held, lease.spec.name: held}, version + 1)

    async def renew(self, lease: Lease, /, *, revision: int) -> None:
        """Write against a revision."""
        if revision != self._table.held[lease.spec.name].revision:
            raise LeaseMoved
        await self.put(lease, version=self._table.version)

    async def drop(self, name: str, /) -> None:
        """Forget."""
        left = {other: each for other, each in (await self.read()).held.items() if other != name}
        self._table = LeaseTable(left, self._table.version + 1)


class Echo:
    """A worker. `answer` may be replaced; what it was given is kept in `seen`, and
    where it lay in `subjects`."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self.seen: list[Job] = []
        self.subjects: list[str] = []
        self.answer: Callable[[Job], JobResult | None] = echo_result

    async def run(self) -> None:
        """Answer jobs until cancelled. An answer of None is a worker that says nothing."""
        while True:
            subject, job = await self._bus.jobs.get()
            self.seen.append(job)
            self.subjects.append(subject)
            result = self.answer(job)
            if result is not None:
                await self._bus.deliver(result)


@dataclass
class World:
    """A gateway's application and what is around it. `resolver` may be swapped."""

    app: Any
    bus: MemoryBus
    echo: Echo
    stop: asyncio.Event
    resolver: Resolver
    leases: Leases
    asked_for: list[str]
    """The model of each request, or its adapter's key."""

    def note_asked(self, model_id: str, adapter: str | None) -> None:
        """Note a request, as the edge does."""
        self.asked_for.append(model_id if adapter is None else f"{model_id}/{adapter}")

    async def hear(self, beat: Heartbeat) -> None:
        """Let the gateway hear a worker."""
        await self.bus.publish(f"sie.health.{beat.worker_id}", JOB_ENCODER.encode(beat))


@asynccontextmanager
async def gateway_world(
    *,
    warm: bool = True,
    leases: Leases | None = None,
    bus: MemoryBus | None = None,
    more: Sequence[tuple[str, str, dict[str, Any]]] = (),
    bundles: Sequence[str] = (),
    **settings: Any,
) -> AsyncIterator[World]:
    """A gateway on a memory bus with one echo worker; `warm` says whether it was heard.

    `leases` is where its leases are, else in memory; `more` are documents beside the usual ones.
    For each of `bundles` a worker was heard too, for which the same one answers.
    """
    usual = {"fleet_ttl_s": 600.0, "fleet_settle_s": 0.0}
    config = GatewaySettings(gateway_id="g1", **(usual | settings))
    bus = bus or MemoryBus()
    stop, kept = asyncio.Event(), leases or MemoryLeases()
    world = World(None, bus, Echo(bus), stop, standard_resolver(*more), kept, [])

    def resolver() -> Resolver:
        return world.resolver

    async with opened_parts(
        config,
        bus,
        bus,
        asker=MemoryAsker(bus),
        gateway_id="g1",
        leases=kept,
        resolver=resolver,
    ) as parts:
        parts.watch.begin()
        over = asyncio.Event()
        looking = asyncio.create_task(parts.takers.run(over))
        world.app = quiet_app(config, parts, resolver, stop, asked_for=world.note_asked)
        if warm:
            await world.hear(heartbeat())
        for bundle in bundles:
            await world.hear(heartbeat(f"w-{bundle}", bundle=bundle))
        working = asyncio.create_task(world.echo.run())
        try:
            yield world
        finally:
            over.set()
            working.cancel()
            await asyncio.wait([working, looking])
