"""The signals of a live cluster as a real Prometheus sees them."""

import json

import pytest
from tests.support.chart import rendered, values_of
from tests.support.dashboards import FOLDER, queries
from tests.support.live_cluster import LiveCluster
from tests.support.polling import until_told
from tests.support.prometheus import Prometheus, prometheus

pytestmark = [pytest.mark.integration, pytest.mark.tool("prometheus")]

LABELS = {"namespace": "sie", "release": "demo"}
CHOICES = {
    "$namespace": LABELS["namespace"],
    "$release": LABELS["release"],
    "$model": ".*",
    "$__rate_interval": "1m",
}


def chosen(query: str) -> str:
    for variable, choice in CHOICES.items():
        query = query.replace(variable, choice)
    return query


async def without_data(server: Prometheus, asked: list[str]) -> list[str]:
    return [query for query in asked if not await server.query(query)]


async def test_every_query_of_every_dashboard_has_data_and_a_healthy_cluster_wakes_nobody(
    live_cluster: LiveCluster, tmp_path
):
    processes = live_cluster.status()["processes"]
    ports = [each["port"] for each in processes if each["port"] and each["role"] != "nats"]
    (rules,) = [
        document["spec"]
        for document in rendered(values_of("", {"alerts": {"enabled": True}}))
        if document["kind"] == "PrometheusRule"
    ]
    targets = [f"127.0.0.1:{port}" for port in ports]
    async with prometheus(tmp_path / "prometheus", targets, labels=LABELS, rules=rules) as server:
        await until_told(server.all_up)
        assert live_cluster.encode("hello").status_code == 200
        pool = f"{live_cluster.config_url}/v1/configs/pools/watched"
        written = await server.http.put(pool, json={"machine_profiles": ["cpu"]})
        assert written.status_code in (200, 201), written.text
        asked = [
            chosen(query)
            for path in sorted(FOLDER.glob("*.json"))
            for query in queries(json.loads(path.read_text()))
        ]
        assert len(asked) > 60
        left = asked

        async def all_have_data() -> bool:
            nonlocal left
            left = await without_data(server, left)
            return not left

        try:
            await until_told(all_have_data)
        except AssertionError:
            pytest.fail("no data: " + "\n".join(left))
        evaluated = await server.rules()
        assert len(evaluated) == sum(len(group["rules"]) for group in rules["groups"])
        assert [rule for rule in evaluated if rule["health"] != "ok"] == []
        assert [rule["name"] for rule in evaluated if rule.get("state") == "firing"] == []
        gone = await server.http.delete(pool)
        assert gone.status_code == 200, gone.text
