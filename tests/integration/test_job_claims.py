"""A worker's duties to queue and client: long work is claimed, unwanted work costs nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.integration.test_worker_stories import FIRST, numbers
from tests.support.edge import Edge, edge_on
from tests.support.polling import until, until_told
from tests.support.worker_world import WorkerWorld, worker_world

from sie_runtime.broker.bus import Message
from sie_runtime.process.lifecycle import serve_http

pytestmark = pytest.mark.integration


async def redelivered(world: WorkerWorld) -> list[int]:
    """Of each consumer, the jobs that were delivered again."""
    answer = await world.bus.request("$JS.API.CONSUMER.LIST.WORK_POOL_default", b"", timeout_s=2)
    return [each["num_redelivered"] for each in json.loads(answer)["consumers"]]


async def test_a_job_that_takes_longer_than_its_claim_is_delivered_and_run_once(tmp_path: Path):
    async with worker_world(tmp_path, queue_ack_wait_s=1.2, hold_extend_s=0.1) as world:
        extensions: list[Message] = []
        await world.bus.subscribe("$JS.ACK.>", extensions.append)
        world.advance(FIRST)
        world.execution.hold()
        job = await world.publish(FIRST, "org/one", "abc")
        # Each comes 0.1 s or more after the one before it: longer than the claim's 1.2 s.
        await until(lambda: sum(each.data == b"+WPI" for each in extensions) >= 14)
        assert await redelivered(world) == [0]
        world.execution.let_go()

        assert numbers(await world.result_of(job)) == [3.0]
        assert len(world.execution.batches) == 1


@asynccontextmanager
async def address_of(edge: Edge) -> AsyncIterator[str]:
    """The gateway behind a socket, so that a client can hang up on it."""
    ports: list[int] = []
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            serve_http(
                edge.app,
                host="127.0.0.1",
                port=0,
                stop=stop,
                on_listening=ports.append,
                drain_s=2,
            )
        )
        await until(lambda: ports)
        try:
            yield f"http://127.0.0.1:{ports[0]}/v1/encode/org/one"
        finally:
            stop.set()


async def test_jobs_of_clients_that_hung_up_leave_the_worker_and_the_queue_before_they_run(
    tmp_path: Path,
):
    async with (
        worker_world(tmp_path, batches_ahead_max=1) as world,
        edge_on(world.bus, FIRST) as gateway,
        address_of(gateway) as url,
        httpx.AsyncClient(timeout=20) as client,
    ):
        world.advance(FIRST)
        await until(lambda: any(beat.ready for beat in gateway.parts.watch.live()))
        world.execution.hold()

        def ask(text: str) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(client.post(url, json={"items": [{"text": text}]}))

        async def jobs_are(count: int) -> bool:
            return await world.jobs_on_queue() == count

        patient = ask("patient")
        await until(lambda: world.execution.batches)
        leaving = [ask("gone") for _ in range(5)]
        await until(lambda: world.worker.state()["items_in_hand"] == 6)
        for each in leaving:
            each.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)

        await until(lambda: world.worker.state()["items_in_hand"] == 1)
        await until_told(lambda: jobs_are(1))
        world.execution.let_go()
        assert (await patient).status_code == 200
        assert len(world.execution.batches) == 1
