"""The gateway's metrics: what is there before anybody asks, and what each request is counted as."""

import logging
from collections import Counter
from itertools import product

import httpx
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.support.gateway_world import gateway_world, standard_resolver

from sie_gateway.fleet.kind_loads import KindLoads, kinds_of
from sie_gateway.http.model_traffic import model_traffic
from sie_gateway.http.request_log import RequestLog
from sie_gateway.metrics import MODEL_REQUEST_SECONDS

SCALED_BY = (
    "sie_gateway_cold_requests_total",
    "sie_gateway_kind_requests_total",
    "sie_gateway_kind_in_flight_items",
)
ONE = {"items": [{"text": "four"}]}


def test_every_kind_of_worker_has_its_series_at_0_before_the_first_request():
    second = {"name": "second", "backends": ["another"]}
    resolver = standard_resolver(("bundle", "second", second))
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


SEEN = st.lists(
    st.tuples(
        st.sampled_from(["counted here", "another"]),
        st.sampled_from(["encode", "score"]),
        st.sampled_from(["2xx", "4xx", "5xx"]),
        st.sampled_from([0.001, 0.15, 4.0, 20.0, 90.0]),
    ),
    max_size=8,
)


@given(SEEN)
def test_a_model_is_told_its_own_requests_of_all_operations_and_the_seconds_of_answers(seen):
    try:
        for model, operation, status, seconds in seen:
            MODEL_REQUEST_SECONDS.labels(model, operation, status).observe(seconds)
        told = model_traffic("counted here")
    finally:
        for labels in {each[:3] for each in seen}:
            MODEL_REQUEST_SECONDS.remove(*labels)
    own = [each for each in seen if each[0] == "counted here"]
    if not own:
        assert told is None
        return
    assert told is not None
    assert told["requests"] == len(own)
    assert told["by_status"] == Counter(status for _, _, status, _ in own)
    answered = [seconds for _, _, status, seconds in own if status == "2xx"]
    within = told["answered_within_s"]
    assert list(within) == sorted(within, key=float)
    assert bool(within) == bool(answered)
    for bound, count in within.items():
        assert count == sum(seconds <= float(bound) for seconds in answered)


@given(
    which=st.sampled_from(["none", "failed", "all"]),
    status=st.sampled_from([200, 202, 400, 429, 499, 500, 502, 503, 504]),
    made_under=st.none() | st.just("of the answer"),
)
def test_a_line_is_a_warning_of_what_failed_and_names_what_the_answer_was_made_under(
    which, status, made_under
):
    """A 503 says "again", and is no failure of the cluster's."""
    lines: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record)

    log, kept = logging.getLogger("sie_gateway.http.request_log"), Kept()
    before = log.level
    log.addHandler(kept)
    log.setLevel(logging.INFO)
    try:
        RequestLog(which, position=lambda: "of now").note(
            request_id="r",
            operation="encode",
            model="m",
            tenant="t",
            status=status,
            code="",
            headers=[(b"x-sie-config-epoch", made_under.encode())] if made_under else [],
            elapsed_ms=1.0,
        )
    finally:
        log.removeHandler(kept)
        log.setLevel(before)
    has_failed = status in {500, 502, 504}
    assert len(lines) == (which == "all" or (which == "failed" and has_failed))
    for line in lines:
        assert line.levelno == (logging.WARNING if has_failed else logging.INFO)
        assert vars(line)["epoch"] == (made_under or "of now")
