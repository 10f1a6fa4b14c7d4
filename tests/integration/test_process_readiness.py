"""`/readyz` of a gateway and of a worker: false until a verified registry is loaded."""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.support.log_world import QUICK, free_port, nowhere, writer
from tests.support.nats import nats_server

from sie_gateway import main as gateway
from sie_gateway.settings import GatewaySettings
from sie_worker import main as worker
from sie_worker.settings import WorkerSettings

pytestmark = pytest.mark.integration


@contextlib.asynccontextmanager
async def running(main, port: int) -> AsyncIterator[httpx.AsyncClient]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(main(stop))
        try:
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=5) as http:
                yield http
        finally:
            stop.set()


async def answer(http: httpx.AsyncClient, *, holds) -> httpx.Response:
    """The first answer of `/readyz` for which `holds`."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(httpx.TransportError):
                found = await http.get("/readyz")
                if holds(found):
                    return found
            await asyncio.sleep(0.01)


async def test_a_gateway_is_ready_when_its_registry_was_verified_and_stays_so_without_the_writer(
    tmp_path,
):
    port, config_port = free_port(), free_port()
    async with nats_server(tmp_path / "nats") as url:
        settings = GatewaySettings(
            nats_url=url,
            port=port,
            config_url=f"http://127.0.0.1:{config_port}",
            replica_dir=tmp_path / "replica",
            fleet_settle_s=0.1,
            drain_s=1,
            **QUICK,
        )

        def serve(stop):
            return gateway.serve(settings, "g1", stop)

        async with running(serve, port) as http:
            refused = await answer(http, holds=lambda found: found.status_code == 503)
            assert refused.json()["detail"]["code"] == "NOT_READY"
            assert "no verified registry" in refused.json()["detail"]["message"]
            async with writer(tmp_path / "data", url, port=config_port):
                await answer(http, holds=lambda found: found.status_code == 200)
            await answer(http, holds=lambda found: found.status_code == 200)
        # Another life, without the writer.
        async with running(serve, port) as http:
            await answer(http, holds=lambda found: found.status_code == 200)
    # Another log in the writer's place: what is served was verified once, and gets old.
    settings = dataclasses.replace(settings, nats_url=nowhere(), replica_stopped_ready_s=0.2)
    async with (
        writer(tmp_path / "other", nowhere(), port=config_port, roll_call_s=0.1),
        running(lambda stop: gateway.serve(settings, "g1", stop), port) as http,
    ):
        old = await answer(http, holds=lambda found: "quarantined" in found.text)
        assert (old.status_code, old.json()["detail"]["code"]) == (503, "NOT_READY")


async def test_a_worker_tells_that_its_registry_is_missing_and_then_how_far_it_may_be_believed(
    tmp_path,
):
    port = free_port()
    async with nats_server(tmp_path / "nats") as url, writer(tmp_path / "data", url) as one:
        with socket.socket(socket.AF_UNIX) as nobody:
            nobody.bind(str(tmp_path / "s.sock"))
            settings = WorkerSettings(
                nats_url=url,
                port=port,
                socket_path=(str(tmp_path / "s.sock"),),
                config_url=one.url,
                drain_s=1,
                **QUICK,
            )

            def serve(stop):
                return worker.serve(settings, "w1", stop)

            async with running(serve, port) as http:
                found = await answer(http, holds=lambda one: one.json()["replica"] == "fresh")
                # Its registry is fine; that nothing executes is another matter.
                assert found.json()["replica_reason"] == ""
                assert (found.status_code, found.json()["executor"]) == (503, False)
