"""The gateway over a real broker, and as the real process."""

import asyncio
import json
import signal
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from tests.support.edge import Edge, bus_of, edge_on
from tests.support.gateway_process import started_gateway
from tests.support.gateway_world import standard_resolver
from tests.support.nats import nats_server
from tests.support.polling import until
from tests.support.queue_worker import beat_until_heard, working

from sie_runtime.access.access import Grant, Tokens, hash_of
from sie_runtime.broker.bus import Bus

pytestmark = pytest.mark.integration

PATH = "/v1/encode/org/dense"


def _edge(bus: Bus, **changed: Any) -> AbstractAsyncContextManager[Edge]:
    return edge_on(bus, standard_resolver(), **({"job_items_max": 10} | changed))


async def _post(edge: Edge, body: Any) -> httpx.Response:
    return await edge.ask("POST", PATH, json=body)


def _texts(count: int) -> dict[str, Any]:
    return {"items": [{"text": "x" * number} for number in range(count)]}


async def test_a_large_request_goes_through_the_queue_in_jobs_and_comes_back_in_order(
    tmp_path: Path,
) -> None:
    async with (
        nats_server(tmp_path) as url,
        bus_of(url, "gateway") as gateway_bus,
        bus_of(url, "worker") as worker_bus,
        _edge(gateway_bus) as edge,
        working(worker_bus) as worker,
    ):
        cold = await _post(edge, _texts(1))
        await beat_until_heard(worker_bus, edge)
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
            await beat_until_heard(worker_bus, edge)
            # The first request makes the stream; nobody pulls, so both end by their deadline.
            late = await _post(edge, _texts(1))
            assert late.status_code == 504
            async with working(worker_bus) as worker:
                await until(lambda: len(worker.confirmed) == 1)
            await _post(edge, _texts(1))
        async with working(worker_bus) as worker:
            await until(lambda: len(worker.undeliverable) == 1)


async def test_a_lost_broker_is_503_and_its_return_is_service_again(tmp_path: Path) -> None:
    async with AsyncExitStack() as outer:
        broker = await outer.enter_async_context(AsyncExitStack())
        url = await broker.enter_async_context(nats_server(tmp_path))
        bus = await outer.enter_async_context(bus_of(url, "gateway"))
        edge = await outer.enter_async_context(_edge(bus, request_timeout_s=10.0))
        await beat_until_heard(bus, edge)
        await broker.aclose()
        await until(lambda: not bus.connected)
        lost = await _post(edge, _texts(1))
        assert (lost.status_code, lost.headers["X-SIE-Error-Code"]) == (503, "QUEUE_UNAVAILABLE")
        await broker.enter_async_context(nats_server(tmp_path, port=urlsplit(url).port or 0))
        await until(lambda: bus.connected)
        async with working(bus):
            assert (await _post(edge, _texts(25))).status_code == 200


async def test_the_process_starts_without_registry_says_so_lets_in_who_may_and_stops_when_told(
    tmp_path: Path,
) -> None:
    grant = Grant(name="app", sha256=hash_of(b"secret"), roles=("infer",))
    tokens = tmp_path / "tokens.json"
    tokens.write_bytes(msgspec.json.encode(Tokens(tokens=(grant,))))
    flags = ("--auth-file", str(tokens))
    async with (
        nats_server(tmp_path / "nats") as url,
        started_gateway(tmp_path, url, "http://127.0.0.1:9", *flags) as (process, port),
    ):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            alive = await http.get("/healthz")
            ready = await http.get("/readyz")
            stranger = await http.post(PATH, json=_texts(1))
            http.headers["authorization"] = "Bearer secret"
            asked = await http.post(PATH, json=_texts(1))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    assert (alive.status_code, stranger.status_code) == (200, 401)
    lines = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
    assert {line["role"] for line in lines} == {"gateway"}
    assert len({line["id"] for line in lines}) == 1
    assert {"ts", "level", "logger", "msg"} <= set.intersection(*map(set, lines))
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
