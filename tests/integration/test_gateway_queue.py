"""The gateway over a real broker, and as the real process."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.edge import Edge, bus_of, edge_on
from tests.support.gateway_world import echo_result, heartbeat, standard_catalog
from tests.support.nats import nats_server
from tests.support.polling import until

from sie_runtime.bus import Bus, BusUnavailable, NoResponders
from sie_runtime.work_queue import Delivery, Puller, WorkQueue, WorkQueueSettings
from sie_schemas.jobs import (
    JOB_DECODER,
    JOB_ENCODER,
    RECEIPT_DECODER,
    Job,
    ResultBatch,
)

pytestmark = pytest.mark.integration

PATH = "/v1/encode/org/dense"


class QueueWorker:
    """A worker on the real queue: pulls, answers, has it confirmed, acknowledges."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        # A job handed to a worker that has just stopped comes again soon.
        self._queue = WorkQueue(bus, WorkQueueSettings(queue_ack_wait_s=0.5))
        self._deliveries: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self.seen: list[Job] = []
        self.confirmed: list[str] = []
        self.undeliverable: list[str] = []

    async def run(self) -> None:
        """Work until `stop`."""
        puller = await self._open()
        try:
            while (delivery := await self._deliveries.get()) is not None:
                await self._answer(delivery)
        finally:
            await puller.close()

    def stop(self) -> None:
        """End after what was taken. A cancellation could be lost inside the client library."""
        self._deliveries.put_nowait(None)

    async def _open(self) -> Puller:
        """A broker that has just started may not have its store ready yet."""
        while True:
            try:
                return await self._queue.open_puller(
                    pool="default",
                    machine_profile="cpu",
                    bundle="default",
                    model_id="org/dense",
                    on_job=self._deliveries.put_nowait,
                    demand=lambda: 64,
                )
            except BusUnavailable:
                await asyncio.sleep(0.02)

    async def _answer(self, delivery: Delivery) -> None:
        job = JOB_DECODER.decode(delivery.data)
        self.seen.append(job)
        batch = ResultBatch(worker_id="w1", results=(echo_result(job),))
        try:
            answer = await self._bus.request(job.reply_to, JOB_ENCODER.encode(batch), timeout_s=2)
        except NoResponders:
            self.undeliverable.append(job.job_id)
        else:
            self.confirmed.extend(RECEIPT_DECODER.decode(answer).job_ids)
        await delivery.ack()


def _edge(bus: Bus, **changed: Any) -> AbstractAsyncContextManager[Edge]:
    return edge_on(bus, standard_catalog(), **({"job_items_max": 10} | changed))


async def _post(edge: Edge, body: Any) -> httpx.Response:
    return await edge.ask("POST", PATH, json=body)


@asynccontextmanager
async def _worker(bus: Bus) -> AsyncIterator[QueueWorker]:
    worker = QueueWorker(bus)
    working = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await working


def _texts(count: int) -> dict[str, Any]:
    return {"items": [{"text": "x" * number} for number in range(count)]}


async def _beat_until_heard(bus: Bus, edge: Edge) -> None:
    """A first word may come before the gateway's interest has reached the broker."""
    while not edge.parts.watch.live():
        await bus.publish("sie.health.w1", JOB_ENCODER.encode(heartbeat()))
        await asyncio.sleep(0.01)


async def test_a_large_request_goes_through_the_queue_in_jobs_and_comes_back_in_order(
    tmp_path: Path,
) -> None:
    async with (
        nats_server(tmp_path) as url,
        bus_of(url, "gateway") as gateway_bus,
        bus_of(url, "worker") as worker_bus,
        _edge(gateway_bus) as edge,
        _worker(worker_bus) as worker,
    ):
        cold = await _post(edge, _texts(1))
        await _beat_until_heard(worker_bus, edge)
        response = await _post(edge, _texts(95))
        await until(lambda: len(worker.confirmed) == 10)
        assert {job.job_id for job in worker.seen} == set(worker.confirmed)
    assert cold.status_code == 202
    assert response.status_code == 200
    values = [entry["dense"]["values"][:2] for entry in response.json()["items"]]
    assert values == [[float(number), float(number)] for number in range(95)]


async def test_a_result_for_a_request_that_ended_is_confirmed_and_for_a_dead_gateway_is_not(
    tmp_path: Path,
) -> None:
    async with (
        nats_server(tmp_path) as url,
        bus_of(url, "gateway") as gateway_bus,
        bus_of(url, "worker") as worker_bus,
    ):
        async with _edge(gateway_bus, request_timeout_s=0.5) as edge:
            await _beat_until_heard(worker_bus, edge)
            # The first request makes the stream; nobody pulls, so both end by their deadline.
            late = await _post(edge, _texts(1))
            assert late.status_code == 504
            async with _worker(worker_bus) as worker:
                await until(lambda: len(worker.confirmed) == 1)
            await _post(edge, _texts(1))
        async with _worker(worker_bus) as worker:
            await until(lambda: len(worker.undeliverable) == 1)


async def test_a_lost_broker_is_503_and_its_return_is_service_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as outer:
        broker = await outer.enter_async_context(AsyncExitStack())
        url = await broker.enter_async_context(nats_server(tmp_path))
        bus = await outer.enter_async_context(bus_of(url, "gateway"))
        edge = await outer.enter_async_context(_edge(bus, request_timeout_s=10.0))
        await _beat_until_heard(bus, edge)
        await broker.aclose()
        await until(lambda: not bus.connected)
        lost = await _post(edge, _texts(1))
        assert (lost.status_code, lost.headers["X-SIE-Error-Code"]) == (503, "QUEUE_UNAVAILABLE")
        await broker.enter_async_context(nats_server(tmp_path, port=urlsplit(url).port or 0))
        await until(lambda: bus.connected)
        async with _worker(bus):
            assert (await _post(edge, _texts(25))).status_code == 200


async def test_the_process_starts_without_registry_says_so_and_stops_when_told(
    tmp_path: Path,
) -> None:
    async with nats_server(tmp_path) as url:
        log = tmp_path / "gateway.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "sie_gateway.main", "--port", "0", "--nats-url", url),
                *("--config-url", "http://127.0.0.1:9", "--fleet-settle-s", "0"),
                stderr=stderr,
            )
        try:
            await until(lambda: _port(log) or process.returncode is not None, within_s=20)
            assert process.returncode is None, log.read_text()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{_port(log)}") as http:
                alive = await http.get("/healthz")
                ready = await http.get("/readyz")
                asked = await http.post(PATH, json=_texts(1))
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                assert await process.wait() == 0, log.read_text()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert alive.status_code == 200
    assert (ready.status_code, ready.json()["detail"]["code"]) == (503, "NOT_READY")
    assert (asked.status_code, asked.json()["detail"]["code"]) == (503, "NOT_READY")


async def test_a_mistyped_setting_stops_the_process_with_one_line() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "sie_gateway.main", "--prot", "1"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.decode().strip() == "error: --prot is not a setting; did you mean --port?"


def _port(log: Path) -> str:
    _, found, rest = log.read_text().partition("listening on port ")
    return rest.partition('"')[0] if found else ""
