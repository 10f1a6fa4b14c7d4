"""Runbooks, walked through: a live cluster is broken, the alert's own expression says so, what the
page looks at shows it, and what the page does ends it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.alerts import alerts
from tests.support.log_world import connected
from tests.support.mortal_workers import MODEL, Cluster, mortal_workers, texts_in_flight
from tests.support.polling import until_told
from tests.support.prometheus import Prometheus, prometheus

from sie_config.stream.usage_watch import watch_usage

pytestmark = [pytest.mark.integration, pytest.mark.tool("prometheus")]

PAGE = Path(__file__).parents[2] / "docs/operations/runbooks.md"
JOBS_MAX = 10
EXPRESSIONS = {rule["alert"]: rule["expr"] for rule in alerts()}


def section(alert: str) -> str:
    found = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


async def is_true(server: Prometheus, alert: str) -> None:
    """Wait until the alert's expression has a series: after its `for` it would fire."""

    async def has() -> bool:
        return bool(await server.query(EXPRESSIONS[alert]))

    await until_told(has, within_s=30)


async def is_over(server: Prometheus, alert: str) -> None:
    """Wait until it has none."""

    async def has_none() -> bool:
        return not await server.query(EXPRESSIONS[alert])

    await until_told(has_none, within_s=30)


async def wrote(cluster: Cluster, name: str, description: str = "") -> int:
    """Write a pool; the status of the answer."""
    body = {"machine_profiles": ["cpu"], "description": description}
    answer = await cluster.writer.http.put(f"/v1/configs/pools/{name}", json=body)
    return answer.status_code


async def walk_execution_down(cluster: Cluster, server: Prometheus) -> None:
    (pair,) = cluster.pairs
    await pair.execution.kill()
    await is_true(server, "SieExecutionDown")
    assert "model execution does not" in section("SieExecutionDown")
    assert (await pair.state(cluster.http))["ready"] is False, "it takes no work meanwhile"
    await pair.execution.start()
    await is_over(server, "SieExecutionDown")
    assert cluster.right(await cluster.ask("back"), "back")


async def walk_broker_away(cluster: Cluster, server: Prometheus) -> None:
    await cluster.broker.kill()
    await is_true(server, "SieBrokerAway")
    assert await wrote(cluster, "meanwhile") == 201, "writes are committed and published later"
    await is_true(server, "SiePublishLags")
    assert "`sie_config_publish_failures_total`" in section("SiePublishLags")
    assert await server.query("sie_config_publish_failures_total > 0")
    refused = await cluster.ask("while it is away")
    assert (refused.status_code, bool(refused.headers["Retry-After"])) == (503, True)
    await cluster.broker.start()
    await is_over(server, "SieBrokerAway")
    await is_over(server, "SiePublishLags")
    assert cluster.right(await cluster.ask("again"), "again")


async def walk_writes_refused(cluster: Cluster, server: Prometheus) -> None:
    store = cluster.writer.plane.store
    await store.bound(1)
    statuses = {await wrote(cluster, f"full-{n}", "x" * 400) for n in range(40)}
    assert 507 in statuses, "what is left of the last page may be written first"
    await is_true(server, "SieWritesRefused")
    told = (await cluster.writer.http.get("/readyz")).json()["writer"]
    assert f"`{told['code']}`" in section("SieWritesRefused")
    assert cluster.right(await cluster.ask("it goes on"), "it goes on")
    await store.bound(0)
    assert await wrote(cluster, "fits") == 201, "the writer goes on by itself"
    await is_over(server, "SieWritesRefused")


async def walk_capacity_does_not_come(cluster: Cluster, server: Prometheus) -> None:
    put, url = cluster.writer.http.put, "/v1/configs"
    await put(f"{url}/pools/far", json={"machine_profiles": ["cpu"]})
    model = (await cluster.writer.http.get(f"{url}/models/{MODEL}")).json()["document"]
    moved = await put(f"{url}/models/org/far", json=model | {"model_id": "org/far", "pool": "far"})
    assert moved.status_code == 201, moved.text
    ask = f"{cluster.gateway}/v1/encode/org/far"
    body = {"items": [{"text": "a"}]}

    async def is_cold() -> bool:
        # Of a series that is born with its first request Prometheus sees no growth: ask again.
        answer = await cluster.http.post(ask, json=body, headers={"X-SIE-SDK-Version": "1"})
        assert answer.status_code in {202, 404, 503}, "it is told to come again"
        return bool(await server.query(EXPRESSIONS["SieCapacityDoesNotCome"]))

    await until_told(is_cold, within_s=30)
    told = (await cluster.http.get(f"{cluster.gateway}/health")).json()["troubles"]
    assert "pool far" in {each["id"] for each in told}, "`sie status` and the doctor name it"
    assert "start such a worker" in section("SieCapacityDoesNotCome")
    # What the page does: such a worker is started.
    worker = cluster.another(pool="far")
    await worker.start()
    try:
        await cluster.ready(2)
        answer = await cluster.http.post(ask, json=body, timeout=30)
        assert answer.status_code == 200, answer.text
    finally:
        await worker.kill()


async def walk_queue_fills(cluster: Cluster, server: Prometheus) -> None:
    flight = await texts_in_flight(cluster, JOBS_MAX - 1)
    await is_true(server, "SieQueueFills")
    page = section("SieQueueFills")
    assert "`sie_config_queue_jobs`" in page
    [row] = await server.query('sie_config_queue_jobs{pool="default"}')
    assert float(row["value"][1]) == JOBS_MAX - 1
    beyond = [asyncio.create_task(cluster.ask("beyond")) for _ in range(3)]
    done, _ = await asyncio.wait(beyond, return_when=asyncio.FIRST_COMPLETED)
    assert {each.result().json()["detail"]["code"] for each in done} == {"QUEUE_FULL"}
    assert "`503 QUEUE_FULL`" in page
    for pair in cluster.pairs:
        pair.execution.resume()
    await asyncio.wait(beyond)
    for text, asking in flight.asking.items():
        assert cluster.right(await asking, text)
    await is_over(server, "SieQueueFills")


async def walk_queue_waits(cluster: Cluster, server: Prometheus) -> None:
    """Its bound is a minute: the page's look is walked, and the expression by its series."""
    flight = await texts_in_flight(cluster, 1)

    async def is_old() -> bool:
        return bool(await server.query("max by (pool) (sie_config_queue_oldest_seconds) > 1"))

    await until_told(is_old, within_s=30)
    assert "`sie_worker_items_in_hand`" in section("SieQueueWaits")
    assert await server.query("sie_worker_items_in_hand > 0"), "a worker holds it and is stuck"
    # What the page does: it is restarted, and its job goes back to the queue.
    [pair] = cluster.pairs
    await pair.kill()
    await pair.start()
    for text, asking in flight.asking.items():
        assert cluster.right(await asking, text)


async def test_what_the_pages_say_of_the_queue_and_of_capacity_is_so(tmp_path):
    settings = {"queue_messages_max": JOBS_MAX}
    async with walked(tmp_path, config=settings) as (cluster, server):
        await walk_queue_fills(cluster, server)
        await walk_queue_waits(cluster, server)
        await walk_capacity_does_not_come(cluster, server)


async def test_what_the_pages_say_of_three_faults_is_so(tmp_path):
    async with walked(tmp_path) as (cluster, server):
        await is_over(server, "SieBrokerAway")
        await walk_execution_down(cluster, server)
        await walk_broker_away(cluster, server)
        await walk_writes_refused(cluster, server)


@asynccontextmanager
async def walked(folder: Path, **rest: Any) -> AsyncIterator[tuple[Cluster, Prometheus]]:
    """A cluster with one worker, and a Prometheus that scrapes all of it."""
    async with mortal_workers(folder, 1, **rest) as cluster:
        urls = (cluster.gateway, f"//127.0.0.1:{cluster.pairs[0].port}", cluster.writer.url)
        targets = [url.rpartition("//")[2] for url in urls]
        over = asyncio.Event()
        async with (
            connected(cluster.broker.url, "config") as bus,
            prometheus(folder / "prometheus", targets, config_here=targets[-1]) as server,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(watch_usage(bus, over, every_s=0.2))
            await until_told(server.all_up, within_s=30)
            yield cluster, server
            over.set()
