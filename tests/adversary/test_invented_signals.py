"""A client that invents names, ids and traces, to fill metrics and logs or to be answered with."""

import httpx
import pytest
from tests.support.gateway_world import gateway_world

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
