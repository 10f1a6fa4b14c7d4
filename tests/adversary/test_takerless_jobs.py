"""A config changes while a request waits, and no worker takes its job any more: it is answered now.

Once a request ran into its deadline then, although the gateway knew better from the next look on.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.edge import bus_of, edge_on
from tests.support.gateway_world import (
    World,
    echo_result,
    gateway_world,
    heartbeat,
    model,
    resolver_of,
)
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.worker_world import model_document, worker_world
from tests.support.worker_world import resolver_of as worker_resolver_of

from sie_core.resolver import Resolver
from sie_schemas.fleet import HOLDING_ASKED_DECODER, HoldingAnswer
from sie_schemas.jobs import JOB_ENCODER

PATH = "/v1/encode/org/dense"
ONE: dict[str, Any] = {"items": [{"text": "four"}]}
ADAPTED = ONE | {"params": {"options": {"lora": "legal"}}}
FAST: dict[str, Any] = {"worker_doubt_s": 0.01, "taker_look_s": 0.01, "worker_answer_s": 0.2}
SOON_S = 30.0
"""Against a minute, on a machine that may stand still meanwhile."""


def registry(
    epoch: int,
    *,
    bundles: dict[str, list[str]],
    pools: dict[str, list[str]] | None = None,
    pool: str = "default",
    models: bool = True,
    adapter: bool = True,
) -> Resolver:
    """One model with one adapter, in this pool; what bundles run, which machines pools have."""
    source = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}
    documents: list[tuple[str, str, dict[str, Any]]] = []
    if models:
        documents.append(model("org/dense", {"encode": {}}, pool=pool))
        if adapter:
            legal = {"model_id": "org/dense", "name": "legal", "source": source}
            documents.append(("adapter", "org/dense/legal", legal))
    documents += [
        ("bundle", name, {"name": name, "backends": backends, "priority": place})
        for place, (name, backends) in enumerate(bundles.items())
    ]
    documents += [
        ("pool", name, {"name": name, "machine_profiles": profiles})
        for name, profiles in (pools or {"default": ["cpu"], "night": ["cpu"]}).items()
    ]
    return resolver_of(documents, epoch=epoch)


BEFORE = registry(7, bundles={"default": ["echo"], "other": ["echo"]})
LOST = {"default": ["onnx"], "other": ["echo"]}
CHANGES: dict[str, tuple[Resolver, bool]] = {
    # What the log says next, and whether the workers of the old lane are stopped for it.
    "a bundle loses the backend, another has it": (registry(8, bundles=LOST), False),
    "a bundle loses the backend, none has it": (
        registry(8, bundles={"default": ["onnx"], "other": ["onnx"]}),
        False,
    ),
    "the bundle is deleted": (registry(8, bundles={"other": ["echo"]}), False),
    "the model is deleted": (registry(8, bundles={"default": ["echo"]}, models=False), False),
    "the model moves to another pool": (
        registry(8, bundles={"default": ["echo"], "other": ["echo"]}, pool="night"),
        True,
    ),
    "the pool is deleted": (
        registry(8, bundles={"default": ["echo"]}, pools={"night": ["cpu"]}, pool="night"),
        True,
    ),
    "the machine profile changes": (
        registry(8, bundles={"default": ["echo"]}, pools={"default": ["l4"]}),
        True,
    ),
    "the adapter is deleted, and the bundle loses the backend": (
        registry(8, bundles=LOST, adapter=False),
        False,
    ),
}
REFUSED = {
    "a bundle loses the backend, none has it": (404, "BUNDLE_NOT_FOUND"),
    "the model is deleted": (404, "MODEL_NOT_FOUND"),
    "the adapter is deleted, and the bundle loses the backend": (404, "ADAPTER_NOT_FOUND"),
}


class Worker:
    """One that says nothing of its jobs but which of them it holds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.holds = False
        self.asked = 0

    async def open(self) -> None:
        """Be there."""
        self._world.echo.answer = lambda job: None
        await self._world.bus.subscribe("sie.holding.default.aa", self._asked)
        await self._world.hear(heartbeat("w1", life="aa"))

    async def leave(self) -> None:
        """Be gone."""
        await self._world.hear(heartbeat("w1", life="aa", ready=False, leaving=True))

    def _asked(self, message: Any) -> None:
        self.asked += 1
        ids = HOLDING_ASKED_DECODER.decode(message.data).job_ids
        held = ids if self.holds else ()
        message.answer(JOB_ENCODER.encode(HoldingAnswer(job_ids=held)))


@asynccontextmanager
async def waiting(
    body: dict[str, Any] = ONE, **settings: Any
) -> AsyncIterator[tuple[World, Worker, "asyncio.Task[httpx.Response]"]]:
    """A request whose job lies in the queue; its worker knows the config before."""
    async with gateway_world(warm=False, **(FAST | settings)) as world:
        world.resolver = BEFORE
        worker = Worker(world)
        await worker.open()
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://g") as http:
            asking = asyncio.create_task(http.post(PATH, json=body))
            try:
                await until(lambda: len(world.echo.seen) == 1)
                yield world, worker, asking
            finally:
                asking.cancel()
                await asyncio.wait([asking])


async def _change(world: World, worker: Worker, change: str, *, served: bool) -> Resolver:
    """The log goes on. `served`: where the model is now, a worker answers."""
    resolver, stops = CHANGES[change]
    if served:
        world.echo.answer = echo_result
        lanes = {("default", "cpu"), ("night", "cpu"), ("default", "l4")}
        for number, (pool, profile) in enumerate(sorted(lanes)):
            for bundle in ("default", "other"):
                if (pool, profile, bundle) == ("default", "cpu", "default"):
                    continue
                name = f"n{number}{bundle}"
                beat = heartbeat(name, pool=pool, machine_profile=profile, bundle=bundle)
                await world.hear(beat)
    if stops:
        await worker.leave()
    world.resolver = resolver
    return resolver


async def _answer(asking: "asyncio.Task[httpx.Response]") -> httpx.Response:
    async with asyncio.timeout(SOON_S):
        return await asking


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_job_in_the_queue_without_a_taker_goes_where_the_registry_says_or_is_answered(
    change: str, served: bool
) -> None:
    body = ADAPTED if "adapter" in change else ONE
    async with waiting(body) as (world, worker, asking):
        await _change(world, worker, change, served=served)
        response = await _answer(asking)
        first = world.echo.seen[0]
        assert (f"sie.cancel.{first.request_id}", b"") in world.bus.published
        if change in REFUSED:
            found = (response.status_code, response.headers["X-SIE-Error-Code"])
            assert found == REFUSED[change]
        elif not served:
            assert response.status_code == 202
            assert float(response.headers["Retry-After"]) > 0
        else:
            assert response.status_code == 200
            assert response.headers["X-SIE-Config-Epoch"].endswith(".8")
            assert len(world.echo.seen) == 2, "run once more, and never twice"
            assert world.echo.subjects[1] != world.echo.subjects[0]
            confirmed = await world.bus.deliver(echo_result(first))
            assert confirmed == (first.job_id,), "a late result is confirmed, and dropped"


@pytest.mark.parametrize("change", [name for name, (_, stops) in CHANGES.items() if not stops])
async def test_a_job_that_a_worker_holds_has_the_answer_that_it_makes(change: str) -> None:
    body = ADAPTED if "adapter" in change else ONE
    async with waiting(body) as (world, worker, asking):
        worker.holds = True
        await _change(world, worker, change, served=True)
        await until(lambda: worker.asked >= 3)
        assert not asking.done()
        await world.bus.deliver(echo_result(world.echo.seen[0]))
        response = await _answer(asking)
        assert response.status_code == 200
        assert response.headers["X-SIE-Config-Epoch"].endswith(".7")
        assert len(world.echo.seen) == 1


async def test_a_job_that_its_holder_gives_back_is_found_then() -> None:
    async with waiting() as (world, worker, asking):
        worker.holds = True
        await _change(world, worker, "the bundle is deleted", served=True)
        await until(lambda: worker.asked >= 3)
        worker.holds = False
        response = await _answer(asking)
        assert response.status_code == 200
        assert world.echo.subjects[1].startswith("sie.work.default.cpu.other.")


@pytest.mark.parametrize(
    "resolver",
    [
        registry(8, bundles={"first": ["echo"], "default": ["echo"]}),
        registry(8, bundles={"default": ["echo", "more"]}, pool="night"),
        registry(8, bundles={"default": ["echo"]}, pools={"default": ["l4", "cpu"]}),
        registry(8, bundles={"default": ["echo"]}, adapter=False),
    ],
    ids=["another bundle", "another pool", "another machine profile", "no adapter"],
)
async def test_a_job_whose_worker_still_pulls_for_it_waits_for_it(resolver: Resolver) -> None:
    body = ADAPTED
    async with waiting(body, request_timeout_s=0.4) as (world, worker, asking):
        world.resolver = resolver
        response = await _answer(asking)
        assert response.status_code == 504
        assert worker.asked == 0
        assert len(world.echo.seen) == 1


async def test_without_a_change_a_job_waits_for_a_worker_to_come_back() -> None:
    async with waiting(request_timeout_s=0.4) as (world, worker, asking):
        await worker.leave()
        assert (await _answer(asking)).status_code == 504
        assert len(world.echo.seen) == 1


# ---- a real worker ------------------------------------------------------------------------------


def _worker_registry(epoch: int, backends: list[str]) -> Resolver:
    return worker_resolver_of(epoch, model_document("org/dense"), backends=backends)


@pytest.mark.parametrize("where", ["queue", "hand"])
async def test_the_first_request_of_a_cold_model_outlives_its_bundle(
    tmp_path: Path, where: str
) -> None:
    """In the queue, before its worker pulls for it; in hand, while the model loads."""
    before, after = _worker_registry(1, ["scripted"]), _worker_registry(2, ["else"])
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(nats_server(tmp_path / "nats"))
        world = await stack.enter_async_context(worker_world(tmp_path, brokers=url))
        bus = await stack.enter_async_context(bus_of(url, "gateway", role="gateway"))
        edge = await stack.enter_async_context(edge_on(bus, before, **FAST))
        world.execution.loads_go.clear()
        # In the queue: a worker that has the new registry does not pull for the model.
        world.advance(before if where == "hand" else after)
        await until(lambda: bool(edge.parts.watch.live()))
        await until(lambda: edge.parts.watch.live()[0].ready)
        asking = asyncio.create_task(edge.ask("POST", PATH, json=ONE))
        if where == "hand":
            await until(lambda: bool(world.execution.loads))
        else:
            await until(lambda: edge.parts.dispatcher.waiting == 1)
        edge.resolver = after
        if where == "hand":
            world.advance(after)
            world.execution.loads_go.set()
        response = await _answer(asking)
        found = (response.status_code, response.headers.get("X-SIE-Error-Code"))
        assert found == ((200, None) if where == "hand" else (404, "BUNDLE_NOT_FOUND"))
