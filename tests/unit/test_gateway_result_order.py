"""Results of a large request, in whatever order the workers send them."""

import asyncio

import httpx
import pytest
from tests.support.gateway_world import echo_result, gateway_world
from tests.support.polling import until


@pytest.mark.parametrize("together", [True, False])
async def test_results_that_come_last_first_are_answered_in_the_order_of_the_request(together):
    async with gateway_world(job_items_max=4) as world:
        world.echo.answer = lambda _: None
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            items = [{"text": "x" * (1 + number)} for number in range(16)]
            asking = asyncio.create_task(client.post("/v1/encode/org/dense", json={"items": items}))
            await until(lambda: sum(len(job.items) for job in world.echo.seen) == 16)
            jobs = sorted(world.echo.seen, key=lambda job: -job.first_item)
            assert len(jobs) >= 4
            results = [echo_result(job) for job in jobs]
            for batch in [results] if together else [[result] for result in results]:
                await world.bus.deliver(*batch)
            answer = (await asking).json()
    values = [entry["dense"]["values"][:2] for entry in answer["items"]]
    assert values == [[float(1 + number), float(number)] for number in range(16)]
