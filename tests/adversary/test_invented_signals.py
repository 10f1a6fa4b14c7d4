"""A client that invents names, ids and traces, to fill metrics and logs or to be answered with."""

import httpx
import pytest
from tests.support.gateway_world import gateway_world

from sie_runtime.process.telemetry import metrics_text
from sie_schemas.errors import FixRequest

ONE = {"items": [{"text": "four"}]}
GOOD = f"00-{1:032x}-{2:016x}-00"


def series(page: str) -> int:
    return sum(not line.startswith("#") for line in page.splitlines())


async def test_invented_names_make_no_series():
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:

            async def ask(number: int) -> None:
                told = {
                    "X-Request-Id": f"id-{number}",
                    "X-SIE-Tenant": f"tenant-{number}",
                    "X-SIE-Pool": f"pool-{number}",
                    "traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01",
                }
                await http.post(f"/v1/encode/org/invented-{number}", json=ONE, headers=told)
                await http.post(
                    "/v1/encode/org/dense", json=ONE, headers={**told, "X-SIE-Pool": ""}
                )

            await ask(0)
            before = series((await http.get("/metrics")).text)
            for number in range(1, 100):
                await ask(number)
            page = (await http.get("/metrics")).text
    assert series(page) == before
    assert "invented" not in page


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": LONG, "input": "four"}),
        ("/v2/rerank", {"model": LONG, "query": "four", "documents": ["four"]}),
        ("/v1/encode/org/dense", {**ONE, LONG: 1}),
        ("/v1/encode/org/dense", {**ONE, "params": {"output_types": [LONG]}}),
    ],
    ids=["model", "model of a face", "field", "value"],
)
async def test_a_name_of_megabytes_is_not_said_back(path, body):
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            answer = await http.post(path, json=body)
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 64 * 1024


@pytest.mark.parametrize(
    "path", ["/v1/encode/org/dense", "/v1/embeddings", "/embed", "/v2/rerank", "/v1/pools"]
)
async def test_marks_that_turn_a_text_around_are_not_said_back(path):
    name = "i\u202egnp.exe\u200b\x9b2J"
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            for sent, query in (({name: 1}, {}), (ONE, {name: "1"})):
                told = await http.post(path, json=sent, params=query)
                assert 400 <= told.status_code < 500
                assert told.text.strip().isprintable()
                assert "gnp.exe" in told.text


def test_a_message_that_is_cut_keeps_its_cure_and_shows_no_password():
    cure = "; GET /v1/models lists them"
    address = "https://somebody:hidden@host/"
    for length in range(16_300, 16_400):
        told = FixRequest(f"{'x' * length} {address} {LONG}{cure}").message
        assert told.endswith(cure)
        assert "hidden" not in told
    assert FixRequest(LONG + cure).field is None


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        ("X-Request-Id", "x" * 129),
        ("X-Request-Id", "   "),
        ("traceparent", f"00-{0:032x}-{2:016x}-01"),
        ("traceparent", GOOD.replace("00-", "ff-", 1)),
        ("traceparent", GOOD + "; drop"),
        ("traceparent", "x" * 5000),
    ],
)
async def test_an_id_or_trace_that_is_none_is_not_answered(header, sent):
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            for path in ("/v1/encode/org/dense", "/v1/pools"):
                answer = await http.post(path, json=ONE, headers={header: sent})
                assert "traceparent" not in answer.headers
                assert 0 < len(answer.headers["X-Request-Id"]) <= 32
            good = await http.post(path, json=ONE, headers={"traceparent": GOOD})
    assert good.headers["traceparent"] == GOOD


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=1.0.0-rc.1",
        "text/plain; version=x",
        "application/openmetrics-text; version=2.0.x; escaping=\xff",
        f"application/openmetrics-text; version={'9' * 5000}",
    ],
)
def test_a_version_of_metrics_that_is_no_number_is_answered_with_metrics(accept: str) -> None:
    text, content_type = metrics_text(accept)
    assert b"sie_build_info{" in text
    assert content_type.startswith(("text/plain; version=0.0.4", "application/openmetrics-text"))
    assert text.endswith(b"# EOF\n") == content_type.startswith("application/openmetrics-text")
