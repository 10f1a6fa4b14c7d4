"""Large requests and large answers, through a real broker, a real gateway and a real worker."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from tests.support.edge import Edge, bus_of, edge_on
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.provisioned import provide
from tests.support.worker_world import WorkerWorld, model_document, resolver_of, worker_world

from sie_cli.plan.broker import ROLES, BrokerPlan, render
from sie_cli.plan.ports import free_ports
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.streams.payload_store import PayloadGone, PayloadSettings, PayloadStore
from sie_schemas import ipc
from sie_schemas.arrays import from_wire

pytestmark = pytest.mark.integration

MODEL = "org/one"
RESOLVER = resolver_of(1, model_document(MODEL, cost_max=200_000))


async def encode(gateway: Edge, body: Any) -> httpx.Response:
    """One request, MessagePack both ways."""
    media = {"content-type": "application/msgpack", "accept": "application/msgpack"}
    content = msgspec.msgpack.encode(body)
    return await gateway.ask("POST", f"/v1/encode/{MODEL}", content=content, headers=media)


@asynccontextmanager
async def edge(world: WorkerWorld, **changed: Any) -> AsyncIterator[Edge]:
    async with edge_on(world.bus, RESOLVER, gateway_id="large", **changed) as gateway:
        world.advance(RESOLVER)
        await until(lambda: any(beat.ready for beat in gateway.parts.watch.live()))
        yield gateway


def wide(world: WorkerWorld, dim: int) -> None:
    """Let the device answer a text with `dim` times its length."""

    def answer(request: ipc.Request) -> ipc.Reply | bytes | None:
        if not isinstance(request, ipc.RunBatch):
            return world.execution.usual_answer(request)
        lengths = [len(item.text) for item in request.inputs if isinstance(item, ipc.TextInput)]
        values = np.repeat(np.array(lengths, dtype="<f4"), dim).tobytes()
        return ipc.BatchDone(id=request.id, answers=ipc.DenseAnswers(dim, values), inference_ms=1.0)

    world.execution.answer = answer


async def objects_held(bus: Bus) -> int:
    """Bytes that the object store holds."""
    answer = await bus.request("$JS.API.STREAM.INFO.OBJ_sie_jobs", b"", timeout_s=2)
    return int(json.loads(answer).get("state", {}).get("bytes", 0))


@pytest.mark.parametrize("job_items_max", [64, 4096])
async def test_four_thousand_vectors_of_a_thousand_floats_are_answered_whole_and_in_order(
    tmp_path: Path, job_items_max: int
) -> None:
    async with (
        worker_world(tmp_path, window_items_max=8192, confirm_timeout_s=5.0) as world,
        edge(world, job_items_max=job_items_max) as gateway,
    ):
        wide(world, 1024)
        items = [{"text": "x" * (1 + number % 60)} for number in range(4096)]
        response = await encode(gateway, {"items": items})
        assert response.status_code == 200, response.text[:300]
        answer = from_wire(msgspec.msgpack.decode(response.content))
    vectors = np.stack([entry["dense"]["values"] for entry in answer["items"]])
    expected = np.array([1 + number % 60 for number in range(4096)], dtype=np.float32)
    assert vectors.shape == (4096, 1024)
    assert np.array_equal(vectors, np.repeat(expected[:, None], 1024, axis=1))


async def test_an_item_larger_than_a_message_goes_through_the_object_store_which_is_empty_after(
    tmp_path: Path,
) -> None:
    async with worker_world(tmp_path) as world, edge(world) as gateway:
        large = {"text": "four", "metadata": {"note": "n" * 3_000_000}}
        response = await encode(gateway, {"items": [{"text": "a"}, large]})
        assert response.status_code == 200, response.text[:300]
        answer = from_wire(msgspec.msgpack.decode(response.content))
        assert [entry["dense"]["values"][0] for entry in answer["items"]] == [1.0, 4.0]
        # What is left of each chunk, for a second.
        assert await objects_held(world.bus) < 5000


async def test_a_large_request_that_is_given_up_leaves_no_object_and_costs_no_run(
    tmp_path: Path,
) -> None:
    async with (
        worker_world(tmp_path, batches_ahead_max=1) as world,
        edge(world, request_timeout_s=1.0) as gateway,
    ):
        world.execution.hold()
        large = {"text": "four", "metadata": {"note": "n" * 2_000_000}}
        responses = await asyncio.gather(*(encode(gateway, {"items": [large]}) for _ in range(3)))
        assert {response.status_code for response in responses} == {504}
        # What is left of each chunk, for a second.
        assert await objects_held(world.bus) < 5000
        world.execution.let_go()
        await until(lambda: not world.worker.state()["items_in_hand"])
        assert len(world.execution.batches) == 1


def _bus(url: str, role: str, password: str | None = None) -> AbstractAsyncContextManager[Bus]:
    user = role if password else None
    return bus_of(url, "one", role=role, nats_user=user, nats_password=password)


async def test_an_object_whose_owner_crashed_is_gone_after_its_time(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as url, _bus(url, "gateway") as bus:
        await provide(bus)
        store = PayloadStore(bus, PayloadSettings())
        data = bytes(range(256)) * 4000
        ref = await store.put("left", data, pool="default", ttl_s=1.0)
        assert await store.get(ref) == data

        async def is_empty() -> bool:
            return await objects_held(bus) == 0

        await until_told(is_empty)
        with pytest.raises(PayloadGone):
            await store.get(ref)


async def test_the_brokers_roles_let_a_gateway_store_payloads_and_a_worker_only_read_them(
    tmp_path: Path,
) -> None:
    port, monitor = free_ports(2)
    passwords = {role: f"secret-{role}" for role in ROLES}
    plan = BrokerPlan(port=port, monitor_port=monitor, store=tmp_path / "js", passwords=passwords)
    config = tmp_path / "nats.conf"
    config.write_text(render(plan))
    async with (
        nats_server(tmp_path / "run", port=port, config=config) as url,
        _bus(url, "config", passwords["config"]) as config_bus,
        _bus(url, "gateway", passwords["gateway"]) as gateway_bus,
        _bus(url, "worker", passwords["worker"]) as worker_bus,
    ):
        await provide(config_bus)
        writer = PayloadStore(gateway_bus, PayloadSettings())
        ref = await writer.put("job", b"x" * 600_000, pool="default", ttl_s=60)
        other = await writer.put("job", b"y", pool="other", ttl_s=60)
        reader = PayloadStore(worker_bus, PayloadSettings())
        assert await reader.get(ref) == b"x" * 600_000
        refused = PayloadStore(worker_bus, PayloadSettings(payload_timeout_s=0.3))
        with pytest.raises(BusUnavailable):
            await refused.drop(ref)
        with pytest.raises(BusUnavailable):
            await refused.get(other)
        assert await reader.get(ref) == b"x" * 600_000
        await writer.drop(ref)
        with pytest.raises(PayloadGone):
            await reader.get(ref)
