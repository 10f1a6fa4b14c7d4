"""The gateway's metrics: what is there before anybody asks, and what each request is counted as."""

from itertools import product

import httpx
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.support.gateway_world import gateway_world, standard_resolver

from sie_gateway.fleet.kind_loads import KindLoads, kinds_of

SCALED_BY = (
    "sie_gateway_cold_requests_total",
    "sie_gateway_kind_requests_total",
    "sie_gateway_kind_in_flight_items",
)
ONE = {"items": [{"text": "four"}]}


def test_every_kind_of_worker_has_its_series_at_0_before_the_first_request():
    resolver = standard_resolver()
    kinds = list(kinds_of(resolver))
    places = (
        (pool, profile, bundle)
        for pool, document in resolver.pools.items()
        for profile, bundle in product(document["machine_profiles"], resolver.bundles)
    )
    assert set(kinds) == set(places)
    assert kinds
    KindLoads().advance(resolver)
    for kind, name in product(kinds, SCALED_BY):
        labels = dict(zip(("pool", "machine_profile", "bundle"), kind, strict=True))
        assert REGISTRY.get_sample_value(name, labels) is not None, (name, labels)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_count", labels) or 0.0


async def test_latency_is_told_by_status_and_by_the_registrys_name_of_the_model():
    def told(status: str) -> float:
        return count("sie_gateway_request_seconds", operation="encode", status=status)

    def of_model(model: str, status: str) -> float:
        labels = {"model": model, "operation": "encode", "status": status}
        return count("sie_gateway_model_request_seconds", **labels)

    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            before = told("200"), told("404"), of_model("org/dense", "2xx"), of_model("none", "4xx")
            # By an alias, and by a name that a client made up.
            await http.post("/v1/encode/dense", json=ONE)
            await http.post("/v1/encode/made-up-by-a-client", json=ONE)
            after = told("200"), told("404"), of_model("org/dense", "2xx"), of_model("none", "4xx")
            assert after == tuple(each + 1 for each in before)
            page = await http.get("/metrics")
            assert "made-up-by-a-client" not in page.text
            assert page.headers["content-type"].startswith("text/plain")
            asked = {"Accept": "application/openmetrics-text; version=1.0.0"}
            page = await http.get("/metrics", headers=asked)
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(page.text)}
    assert {"sie_gateway_requests", "sie_build_info"} <= names
    assert "_created" not in page.text, "each counter would be two series"
