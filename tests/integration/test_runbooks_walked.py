"""Runbooks, walked through: a live cluster is broken, the alert's own expression says so, what the
page looks at shows it, and what the page does ends it."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.support.alerts import alerts
from tests.support.log_world import connected
from tests.support.mortal_workers import Cluster, mortal_workers
from tests.support.polling import until_told
from tests.support.prometheus import Prometheus, prometheus

from sie_config.stream.usage_watch import watch_usage

pytestmark = [pytest.mark.integration, pytest.mark.tool("prometheus")]

PAGE = Path(__file__).parents[2] / "docs/operations/runbooks.md"
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


async def test_what_the_pages_say_of_three_faults_is_so(tmp_path):
    async with mortal_workers(tmp_path, 1) as cluster:
        urls = (cluster.gateway, f"//127.0.0.1:{cluster.pairs[0].port}", cluster.writer.url)
        targets = [url.rpartition("//")[2] for url in urls]
        over = asyncio.Event()
        async with (
            connected(cluster.broker.url, "config") as bus,
            prometheus(tmp_path / "prometheus", targets, config_here=targets[-1]) as server,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(watch_usage(bus, over, every_s=0.2))
            await until_told(server.all_up, within_s=30)
            await is_over(server, "SieBrokerAway")
            await walk_execution_down(cluster, server)
            await walk_broker_away(cluster, server)
            await walk_writes_refused(cluster, server)
            over.set()
