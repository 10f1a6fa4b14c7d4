"""Crowds over a real broker and real sidecars: thousands in flight, each with its own answer."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.edge import Edge, edge_on
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.worker_world import WorkerWorld, model_document, resolver_of, worker_world

from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_schemas import canonical, ipc
from sie_schemas.documents import admit_document

pytestmark = pytest.mark.integration

MODELS = ("org/one", "org/two")
ADAPTERS = (None, "legal", "medical")
POOLS = ("default", "night")
TENANTS = ("a", "b", "c")


def _resolver() -> Resolver:
    base = resolver_of(1, *(model_document(name, cost_max=100_000) for name in MODELS))
    source = {"type": "package", "package": "p", "distribution": "p", "version": "1"}
    entities = list(base.registry)
    for model_id, name in itertools.product(MODELS, ADAPTERS[1:]):
        document = {"model_id": model_id, "name": name, "source": source}
        body = canonical.dumps(admit_document("adapter", document))
        entities.append(Entity("adapter", f"{model_id}/{name}", 1, body))
    night = canonical.dumps(admit_document("pool", {"name": "night"}))
    entities.append(Entity("pool", "night", 1, night))
    return Resolver.of(Registry.of(entities), base.position)


RESOLVER = _resolver()


@dataclass(frozen=True)
class Asked:
    """One request, and what only its answer can be."""

    number: int
    model: int
    adapter: int
    pool: int
    tenant: int

    def headers(self) -> dict[str, str]:
        """The headers that say where it runs and whose it is."""
        return {"x-sie-pool": POOLS[self.pool], "x-sie-tenant": TENANTS[self.tenant]}

    def body(self) -> dict[str, Any]:
        """Its text says its number and its tenant."""
        adapter = ADAPTERS[self.adapter]
        options = {} if adapter is None else {"options": {"lora": adapter}}
        return {"items": [{"text": f"{self.number} {self.tenant}"}], "params": options}

    def answer(self) -> list[float]:
        """As the device of its pool tells it."""
        return [float(self.number), float(self.tenant), self.model, self.adapter, self.pool]


def tell_everything(world: WorkerWorld, pool: int) -> None:
    """Let a device answer with the text's content, and the model, adapter and pool that it ran."""
    models = [RESOLVER.resolve(name).revision for name in MODELS]

    def answer(request: ipc.Request) -> ipc.Reply | bytes | None:
        if not isinstance(request, ipc.RunBatch):
            return world.execution.usual_answer(request)
        adapter = ADAPTERS.index(request.adapter.name if request.adapter is not None else None)
        rows = [
            [*item.text.split(), models.index(request.model_revision), adapter, pool]
            for item in request.inputs
            if isinstance(item, ipc.TextInput)
        ]
        values = np.array(rows, dtype=np.float32).astype("<f4").tobytes()
        return ipc.BatchDone(id=request.id, answers=ipc.DenseAnswers(5, values), inference_ms=1.0)

    world.execution.answer = answer


@asynccontextmanager
async def crowded(folder: Path, **settings: Any) -> AsyncIterator[tuple[Edge, list[WorkerWorld]]]:
    """A gateway, and a sidecar in each of two pools that has no registry yet."""
    async with AsyncExitStack() as outer:
        url = await outer.enter_async_context(nats_server(folder / "nats"))
        worlds = []
        for number, pool in enumerate(POOLS):
            await asyncio.to_thread((folder / pool).mkdir)
            world = await outer.enter_async_context(
                worker_world(
                    folder / pool,
                    brokers=url,
                    worker_id=f"worker-{pool}",
                    pool=pool,
                    window_items_max=4096,
                )
            )
            tell_everything(world, number)
            worlds.append(world)
        edge = await outer.enter_async_context(edge_on(worlds[0].bus, RESOLVER, **settings))
        yield edge, worlds


async def test_thousands_in_flight_each_get_their_own_answer(tmp_path: Path) -> None:
    kinds = itertools.cycle(
        itertools.product(range(2), range(3), range(2), range(3)),
    )
    requests = [Asked(number, *kind) for number, kind in zip(range(2000), kinds, strict=False)]
    # All at once on a busy machine: the broker may take its time to store the last of them.
    async with crowded(tmp_path, request_timeout_s=60.0, queue_publish_timeout_s=60.0) as (
        edge,
        worlds,
    ):
        for world in worlds:
            world.advance(RESOLVER)
            world.execution.hold()
        await until(lambda: len([b for b in edge.parts.watch.live() if b.ready]) == 2)

        async def ask(asked: Asked) -> None:
            path = f"/v1/encode/{MODELS[asked.model]}"
            answer = await edge.ask("POST", path, json=asked.body(), headers=asked.headers())
            assert answer.status_code == 200, answer.text
            assert answer.json()["items"][0]["dense"]["values"] == asked.answer()

        async with asyncio.TaskGroup() as group:
            for asked in requests:
                group.create_task(ask(asked))
            # Nothing is answered before all of it is on its way.
            await until(lambda: edge.parts.dispatcher.waiting == len(requests))
            for world in worlds:
                world.execution.let_go()
        # Each pool has a stream of its own, with its jobs and no other's.
        for number, pool in enumerate(POOLS):
            stream = await worlds[0].bus.client.jetstream().stream_info(f"WORK_POOL_{pool}")
            assert stream.config.subjects == [f"sie.work.{pool}.*.*.*"]
            assert stream.state.last_seq == sum(asked.pool == number for asked in requests)


async def test_a_storm_on_a_cold_pool_ends_with_each_client_answered_once(tmp_path: Path) -> None:
    clients = 1000
    seen: Counter[int] = Counter()
    async with crowded(tmp_path, provisioning_retry_after_s=0.1) as (edge, worlds):
        asked = [Asked(number, 0, 0, 0, 0) for number in range(clients)]

        async def ask(one: Asked) -> list[float]:
            while True:
                answer = await edge.ask("POST", "/v1/encode/org/one", json=one.body())
                seen[answer.status_code] += 1
                if answer.status_code == 200:
                    values: list[float] = answer.json()["items"][0]["dense"]["values"]
                    return values
                assert answer.status_code in (202, 503), answer.text
                await asyncio.sleep(int(answer.headers["retry-after-ms"]) / 1000)

        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask(one)) for one in asked]
            await until(lambda: seen[202] >= clients)
            worlds[0].advance(RESOLVER)
        assert [task.result() for task in asking] == [one.answer() for one in asked]
        # Nobody's text ran twice, and the model was loaded once.
        ran = [
            item.text
            for batch in worlds[0].execution.batches
            for item in batch.inputs
            if isinstance(item, ipc.TextInput)
        ]
        assert sorted(ran) == sorted(one.body()["items"][0]["text"] for one in asked)
        assert len(worlds[0].execution.loads) == 1
    assert seen[200] == clients
