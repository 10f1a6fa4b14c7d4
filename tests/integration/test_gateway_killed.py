"""A gateway that is killed in the middle of many requests costs none of them, and no right answer.

The broker, the writer and the gateway are processes; the SDK is all that the caller has.
"""

import asyncio
from pathlib import Path

import pytest
from tests.support.gateway_process import gateway_process, started_gateway
from tests.support.polling import until
from tests.support.queue_worker import QueueLane

from sie_sdk import SIEAsyncClient

pytestmark = pytest.mark.integration

REQUESTS = 1000
AT_ONCE = 32


@pytest.mark.timeout(300)
async def test_a_thousand_requests_outlive_the_gateway(tmp_path: Path) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    retries: list[object] = []
    async with gateway_process(tmp_path) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        async with SIEAsyncClient(url, on_retry=retries.append) as client:

            async def width_of(length: int) -> float:
                async with places:
                    result = await client.encode("org/dense", "x" * length)
                return float(result["dense"][0])

            asked = asyncio.gather(*map(width_of, range(REQUESTS)))
            await until(lambda: len(gateway.worker.seen) > REQUESTS // 4)
            gateway.process.kill()
            await gateway.process.wait()
            again = tmp_path / "again"
            again.mkdir()
            async with started_gateway(
                again, gateway.nats_url, gateway.writer.url, port=gateway.port
            ):
                await gateway.warm([QueueLane()])
                found = await asked
    assert found == [float(length) for length in range(REQUESTS)]
    assert retries
    assert len(gateway.worker.seen) < 2 * REQUESTS
