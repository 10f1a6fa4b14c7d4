"""Results of a large request, in whatever order the workers send them."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
from tests.support.gateway_world import MemoryBus, World, echo_result, gateway_world
from tests.support.polling import until

from sie_runtime.broker.bus import NoResponders
from sie_schemas.errors import SIEError
from sie_schemas.jobs import (
    JOB_ENCODER,
    RECEIPT_DECODER,
    Job,
    ResultBatch,
    ResultChunk,
    ResultReceipt,
)
from sie_worker.forms.chunking import chunks_of


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


class LeaderlessOnce(MemoryBus):
    """The stream has no leader when the second job of a request comes for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.unheard: Callable[[SIEError | None], None] | None = None

    def send_job(
        self, *, job_id: str, heard: Callable[[SIEError | None], None], **sent: Any
    ) -> None:
        """Keep back what the broker says of that job."""
        if job_id.endswith(".1") and self.unheard is None:
            self.unheard = heard
        else:
            super().send_job(job_id=job_id, heard=heard, **sent)


async def test_a_job_without_a_stream_is_sent_again_and_the_answers_that_came_by_then_count():
    bus = LeaderlessOnce()
    async with gateway_world(job_items_max=1, bus=bus) as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            items = [{"text": "a"}, {"text": "bc"}]
            asking = asyncio.create_task(client.post("/v1/encode/org/dense", json={"items": items}))
            # The first job is answered, and will not be run again.
            await until(
                lambda: any(subject.startswith("sie.result") for subject, _ in bus.published)
            )
            assert bus.unheard is not None
            bus.unheard(NoResponders("no leader"))
            answer = await asking
    assert answer.status_code == 200
    assert [entry["dense"]["values"][0] for entry in answer.json()["items"]] == [1.0, 2.0]
    first, second = world.echo.seen
    assert (first.first_item, second.first_item) == (0, 1)
    # A worker counts from the moment at which it was stored: what lies between is what is left.
    assert second.deadline == first.deadline
    assert second.published_at - first.published_at > 0.01


@pytest.mark.parametrize("ends", ["hung up", "answered otherwise"])
async def test_a_request_that_ends_without_its_chunks_gives_their_room_back(ends):
    async with gateway_world(chunked_bytes_max=3000) as world:
        world.echo.answer = lambda _: None
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

            async def asked(number: int) -> tuple[asyncio.Task[httpx.Response], Job]:
                body = {"items": [{"text": "x" * (1 + number)}]}
                asking = asyncio.create_task(client.post("/v1/encode/org/dense", json=body))
                await until(lambda: len(world.echo.seen) > number)
                return asking, world.echo.seen[number]

            asking, job = await asked(0)
            # The first chunk keeps room for the whole: more than half of what there is.
            first = ResultChunk(
                job_id=job.job_id, transfer="t", index=0, count=2, size=2000, data=b"-"
            )
            assert (await offered(world, first)).chunk == 0
            if ends == "hung up":
                asking.cancel()
            else:
                await world.bus.deliver(echo_result(job))
            await asyncio.wait([asking])

            asking, job = await asked(1)
            result = msgspec.structs.replace(echo_result(job), worker_id="w" * 2000)
            encoded = JOB_ENCODER.encode(result)
            for chunk in chunks_of(encoded, job_id=job.job_id, bytes_max=2048):
                receipt = await offered(world, chunk)
            assert receipt.job_ids == (job.job_id,)
            answer = await asking
    assert answer.json()["items"][0]["dense"]["values"][:1] == [2.0]


async def offered(world: World, chunk: ResultChunk) -> ResultReceipt:
    """The gateway's word on a chunk that a worker offers."""
    batch = ResultBatch(worker_id="w1", results=(), chunk=chunk)
    inbox = world.bus.inbox_of(chunk.job_id)
    [answer] = await world.bus.request(inbox, JOB_ENCODER.encode(batch))
    return RECEIPT_DECODER.decode(answer)
