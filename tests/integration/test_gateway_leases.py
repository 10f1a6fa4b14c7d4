"""Leases of `/v1/pools` on a real broker: two gateways, one bucket."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.edge import Edge, bus_of, edge_on
from tests.support.gateway_world import MemoryBus, heartbeat, model, resolver_of
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.provisioned import provide

from sie_gateway import metrics
from sie_runtime.streams.lease_store import LeaseStore, LeaseStoreSettings
from sie_schemas.jobs import JOB_ENCODER

pytestmark = pytest.mark.integration

POOL = {"name": "default", "machine_profiles": ["cpu", "l4"], "workers_min": 1, "workers_max": 8}
RESOLVER = resolver_of(
    [
        model("org/dense", {"encode": {}}),
        ("bundle", "default", {"name": "default", "backends": ["echo"]}),
        ("pool", "default", POOL),
        ("pool", "night", {"name": "night"}),
    ]
)


@dataclass
class Leasing:
    """One gateway, and the memory that its jobs go to."""

    edge: Edge
    jobs: MemoryBus

    async def ask(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """One request."""
        return await self.edge.ask(method, path, **rest)

    async def lease(self, name: str, **spec: Any) -> httpx.Response:
        """Create a lease; of one l4 where nothing else is said."""
        return await self.ask("POST", "/v1/pools", json={"name": name, "gpus": {"l4": 1}} | spec)


@asynccontextmanager
async def _edge(url: str, name: str, **changed: Any) -> AsyncIterator[Leasing]:
    """A gateway whose leases are on the broker; it hears of one l4."""
    jobs = MemoryBus()
    async with (
        bus_of(url, name) as bus,
        edge_on(bus, RESOLVER, gateway_id=name, jobs=jobs, **changed) as edge,
    ):
        await jobs.publish("sie.health.w1", JOB_ENCODER.encode(heartbeat(machine_profile="l4")))
        yield Leasing(edge, jobs)


@asynccontextmanager
async def _two(folder: Path, **changed: Any) -> AsyncIterator[tuple[Leasing, Leasing]]:
    async with (
        nats_server(folder) as url,
        _edge(url, "one", **changed) as one,
        _edge(url, "two", **changed) as two,
    ):
        yield one, two


async def test_a_lease_is_made_seen_renewed_and_ended_through_any_gateway(tmp_path: Path) -> None:
    async with _two(tmp_path) as (one, two):
        made = await one.lease("Eval".lower(), gpu_caps={"l4": 2}, pinned_models=["org/dense:fast"])
        assert made.status_code == 201, made.text
        seen = (await two.ask("GET", "/v1/pools/EVAL")).json()
        assert seen == made.json()
        assert seen["spec"]["gpus"] == {"l4": 1}
        assert seen["spec"]["queue_pool"] == "default"
        assert seen["status"]["state"] == "active"
        [worker] = seen["status"]["assigned_workers"]
        assert worker == {"name": "w1", "url": "", "gpu": "l4", "bundle": "default"}
        listed = (await two.ask("GET", "/v1/pools")).json()["pools"]
        assert [(each["name"], each["kind"], each["worker_count"]) for each in listed] == [
            ("default", "pool", 1),
            ("eval", "lease", 1),
            ("night", "pool", 0),
        ]
        renewed = await two.ask("POST", "/v1/pools/eval/renew")
        assert renewed.json()["message"] == "Pool renewed"
        after = (await one.ask("GET", "/v1/pools/eval")).json()["status"]
        assert after["last_renewed"] > seen["status"]["last_renewed"]
        assert after["created_at"] == seen["status"]["created_at"]
        changed = await two.lease("eval", gpus={"l4": 2})
        assert changed.json()["status"]["state"] == "pending"
        assert changed.json()["status"]["created_at"] == seen["status"]["created_at"]
        assert (await two.ask("DELETE", "/v1/pools/eval")).json() == {"message": "Pool deleted"}
        for gone in (
            await one.ask("GET", "/v1/pools/eval"),
            await one.ask("POST", "/v1/pools/eval/renew"),
            await one.ask("DELETE", "/v1/pools/eval"),
        ):
            assert (gone.status_code, gone.json()["detail"]["code"]) == (404, "POOL_NOT_FOUND")


async def test_gateways_that_race_never_lease_more_than_the_pool_has(tmp_path: Path) -> None:
    async with _two(tmp_path) as edges:
        answers = await asyncio.gather(
            *(edges[number % 2].lease(f"race-{number}") for number in range(24))
        )
        assert Counter(answer.status_code for answer in answers) == {201: 8, 503: 16}
        full = next(answer for answer in answers if answer.status_code == 503)
        assert full.json()["detail"]["code"] == "POOL_CAPACITY_UNAVAILABLE"
        assert "GET /v1/pools lists them" in full.json()["detail"]["message"]
        assert int(full.headers["retry-after"]) > 0
        listed = (await edges[0].ask("GET", "/v1/pools")).json()["pools"]
        leased = [each["name"] for each in listed if each["kind"] == "lease"]
        assert len(leased) == 8
        # Another pool has no such bound, and what ends makes room.
        assert (await edges[1].lease("n", queue_pool="night", gpus={"cpu": 9})).status_code == 201
        assert (await edges[0].ask("DELETE", f"/v1/pools/{leased[0]}")).status_code == 200
        assert (await edges[1].lease("late")).status_code == 201


async def test_an_autoscaler_is_told_what_pools_and_leases_keep_warm_and_nothing_of_pools_that_left(
    tmp_path: Path,
) -> None:
    def warm() -> dict[str, float]:
        [family] = metrics.POOL_WARM_WORKERS.collect()
        return {sample.labels["pool"]: sample.value for sample in family.samples}

    metrics.POOL_WARM_WORKERS.labels("left-long-ago").set(3)
    async with nats_server(tmp_path) as url, _edge(url, "one", lease_look_s=0.05) as one:
        await until(lambda: warm() == {"default": 1, "night": 0})
        for name in ("a", "b"):
            assert (await one.lease(name, minimum_worker_count=1)).status_code == 201
        await until(lambda: warm() == {"default": 2, "night": 0})
        assert (await one.ask("DELETE", "/v1/pools/a")).status_code == 200
        assert (await one.ask("DELETE", "/v1/pools/b")).status_code == 200
        await until(lambda: warm() == {"default": 1, "night": 0})


async def test_a_lease_that_nobody_renews_ends_and_frees_its_share(tmp_path: Path) -> None:
    async with _two(tmp_path) as (one, two):
        brief = await one.lease("brief", gpus={"l4": 8}, ttl_seconds=2)
        kept = await one.lease("kept", queue_pool="night", gpus={"cpu": 1}, ttl_seconds=2)
        assert (brief.status_code, kept.status_code) == (201, 201)
        assert (await two.lease("next")).status_code == 503

        async def is_free() -> bool:
            # Renewed while the other one runs out.
            assert (await two.ask("POST", "/v1/pools/kept/renew")).status_code == 200
            return (await two.lease("next")).status_code == 201

        await until_told(is_free)
        renewed = await one.ask("POST", "/v1/pools/brief/renew")
        assert (renewed.status_code, renewed.json()["detail"]["code"]) == (404, "POOL_NOT_FOUND")


async def test_a_request_under_a_lease_runs_in_its_pool_on_its_profiles_at_any_gateway(
    tmp_path: Path,
) -> None:
    async with _two(tmp_path, request_timeout_s=1.5, lease_items_per_worker=2) as (one, two):
        await one.lease("eval", gpu_caps={"l4": 1})
        body = {"items": [{"text": "a"}, {"text": "b"}]}
        path, headers = "/v1/encode/org/dense", {"x-sie-pool": "Eval"}
        asking = asyncio.create_task(two.ask("POST", path, json=body, headers=headers))
        async with asyncio.timeout(60):
            subject, _ = await two.jobs.jobs.get()
        assert subject.startswith("sie.work.default.l4.default.")
        over = await two.ask("POST", path, json=body, headers=headers)
        assert (over.status_code, over.json()["detail"]["code"]) == (429, "RATE_LIMIT")
        assert "lease 'eval'" in over.json()["detail"]["message"]
        assert (await asking).status_code == 504
        other = {**headers, "x-sie-machine-profile": "cpu"}
        refused = await two.ask("POST", path, json=body, headers=other)
        assert refused.status_code == 400
        unknown = await two.ask("POST", path, json=body, headers={"x-sie-pool": "nobody"})
        assert (unknown.status_code, unknown.json()["detail"]["code"]) == (404, "POOL_NOT_FOUND")


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"name": "default"}, 403, "POOL_OPERATION_FORBIDDEN", "$.name"),
    ({"name": "night"}, 403, "POOL_OPERATION_FORBIDDEN", "$.name"),
    ({"name": "No Name"}, 400, "INVALID_REQUEST", "$.name"),
    ({"name": "eval\n"}, 400, "INVALID_REQUEST", "$.name"),
    ({"gpus": {}}, 400, "INVALID_REQUEST", "$.gpus"),
    ({"gpus": {"h100": 1}}, 400, "INVALID_REQUEST", "$.gpus"),
    ({"gpus": {"l4": 0}}, 400, "INVALID_REQUEST", "$.gpus[...]"),
    ({"gpus": {"l4": 9}}, 400, "INVALID_REQUEST", "$.gpus"),
    ({"gpus": {"l4": 2}, "gpu_caps": {"l4": 1}}, 400, "INVALID_REQUEST", "$.gpu_caps"),
    ({"queue_pool": "moon"}, 404, "POOL_NOT_FOUND", "$.queue_pool"),
    ({"bundle": "moon"}, 404, "BUNDLE_NOT_FOUND", "$.bundle"),
    ({"pinned_models": ["moon"]}, 404, "MODEL_NOT_FOUND", "model"),
    ({"ttl_seconds": 4000}, 400, "INVALID_REQUEST", "$.ttl_seconds"),
    ({"minimum_worker_count": 5}, 400, "INVALID_REQUEST", "$.minimum_worker_count"),
    ({"gpsu": {"l4": 1}}, 400, "INVALID_REQUEST", "$.gpsu"),
]


async def test_what_cannot_be_leased_is_refused_with_the_field(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as url, _edge(url, "one") as edge:
        for spec, status, code, field in REFUSED:
            answer = await edge.lease(**({"name": "x"} | spec))
            told = answer.json()["detail"]
            assert (answer.status_code, told["code"], told["field"]) == (status, code, field), spec
            assert told["message"]
        for name, code in (
            ("default", "DEFAULT_POOL_DELETE_FORBIDDEN"),
            ("night", "POOL_OPERATION_FORBIDDEN"),
        ):
            answer = await edge.ask("DELETE", f"/v1/pools/{name}")
            assert (answer.status_code, answer.json()["detail"]["code"]) == (403, code)


async def test_only_so_many_leases_are_given(tmp_path: Path) -> None:
    async with _two(tmp_path, leases_max=2) as (one, two):
        assert [(await one.lease(name)).status_code for name in ("a", "b", "a")] == [201] * 3
        full = await two.lease("c")
        assert (full.status_code, full.json()["detail"]["code"]) == (
            403,
            "POOL_OPERATION_FORBIDDEN",
        )


async def test_while_the_broker_is_away_every_call_says_so_and_leases_outlive_it(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as outer:
        broker = await outer.enter_async_context(AsyncExitStack())
        url = await broker.enter_async_context(nats_server(tmp_path))
        one = await outer.enter_async_context(_edge(url, "one"))
        assert (await one.lease("eval")).status_code == 201
        await broker.aclose()
        async with asyncio.timeout(60):
            answers = [
                await one.lease("other"),
                await one.ask("GET", "/v1/pools"),
                await one.ask("GET", "/v1/pools/eval"),
                await one.ask("POST", "/v1/pools/eval/renew"),
                await one.ask("DELETE", "/v1/pools/eval"),
                await one.ask(
                    "POST",
                    "/v1/encode/org/dense",
                    json={"items": [{"text": "a"}]},
                    headers={"x-sie-pool": "unheard-of"},
                ),
            ]
        assert {each.status_code for each in answers} == {503}
        assert {each.json()["detail"]["code"] for each in answers} == {"QUEUE_UNAVAILABLE"}
        assert all(int(each.headers["retry-after"]) > 0 for each in answers)
        port = int(url.rpartition(":")[2])
        await outer.enter_async_context(nats_server(tmp_path, port=port))

        async def is_back() -> bool:
            return (await one.ask("POST", "/v1/pools/eval/renew")).status_code == 200

        await until_told(is_back)


async def test_a_store_that_was_lost_is_made_again(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as url, bus_of(url, "one") as bus, _edge(url, "two") as edge:
        assert (await edge.lease("eval")).status_code == 201
        await bus.request("$JS.API.STREAM.DELETE.KV_sie_leases", b"", timeout_s=2)
        assert (await edge.lease("eval")).status_code == 503
        await provide(bus)
        store = LeaseStore(bus, LeaseStoreSettings())
        assert dict((await store.read()).held) == {}

        async def is_back() -> bool:
            return (await edge.lease("eval")).status_code == 201

        await until_told(is_back)
