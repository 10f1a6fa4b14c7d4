"""Requests that wait at sie-config: who takes a place, for how long, and of how many."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY
from tests.support.config_writer import client_of, model, running
from tests.support.polling import until
from tests.support.reports import report_at

from sie_config.writer_process import ControlPlane
from sie_runtime.http.connections import within_descriptors

CONFIGS = "/v1/configs"


@asynccontextmanager
async def house(
    folder: Path, waits_max: int
) -> AsyncIterator[tuple[ControlPlane, httpx.AsyncClient]]:
    """A writer where so many may wait."""
    async with (
        running(folder, http_connections_max=2 * waits_max) as plane,
        client_of(plane) as client,
    ):
        yield plane, client


def poll(
    plane: ControlPlane, client: httpx.AsyncClient, **changes: str | int
) -> asyncio.Task[httpx.Response]:
    here = plane.sequencer.position
    query: dict[str, str | int] = {
        "log_id": here.log_id,
        "after": here.epoch,
        "digest": here.digest,
        "wait": 60,
    }
    return asyncio.create_task(client.get(f"{CONFIGS}/epoch", params=query | changes))


def converged(client: httpx.AsyncClient, **body: object) -> asyncio.Task[httpx.Response]:
    """Waits for somebody to be at the head; nobody is there."""
    told = {"min": 1, "timeout_s": 60} | body
    return asyncio.create_task(client.post(f"{CONFIGS}/wait", json=told))


def polls() -> float | None:
    return REGISTRY.get_sample_value("sie_config_polls_waiting")


@pytest.mark.parametrize(
    "look", [{"wait": 0}, {"after": 1}, {"digest": "0" * 64}, {"log_id": "f" * 32}]
)
async def test_in_a_full_house_a_look_that_need_not_wait_ends_no_poll(tmp_path, look):
    async with house(tmp_path, 1) as (plane, client):
        waiting = poll(plane, client)
        await until(lambda: len(plane.waits) == 1)
        assert (await poll(plane, client, **look)).status_code == 200
        assert (await converged(client, timeout_s=0)).json()["reached"] is False
        assert (await converged(client, min=0)).json()["reached"] is True
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        # One that has to wait takes its place.
        newcomer = poll(plane, client)
        assert (await waiting).json()["epoch"] == plane.sequencer.position.epoch
        await client.post(f"{CONFIGS}/models", json=model("m"))
        assert (await newcomer).json()["epoch"] == plane.sequencer.position.epoch


async def test_a_wait_for_replicas_keeps_its_age_however_many_reports_it_hears(tmp_path):
    async with house(tmp_path, 2) as (plane, client):
        older = converged(client, min=3)
        await until(lambda: len(plane.waits) == 1)
        younger = poll(plane, client)
        await until(lambda: len(plane.waits) == 2)
        for name in ("g1", "g2"):
            data = report_at(plane.sequencer.position, id=name)
            plane.replicas.convergence.heard(plane.replicas.reports.receive(data, plane.now()))
            for _ in range(50):
                await asyncio.sleep(0)
        newcomer = poll(plane, client)
        assert (await older).json()["reached"] is False
        assert not younger.done()
        await client.post(f"{CONFIGS}/models", json=model("m"))
        await asyncio.gather(younger, newcomer)


async def test_a_write_that_waits_for_replicas_has_a_place_and_is_no_poll(tmp_path):
    async with house(tmp_path, 1) as (plane, client):
        writing = asyncio.create_task(
            client.post(f"{CONFIGS}/models?wait=converged&timeout=60", json=model("m"))
        )
        await until(lambda: len(plane.waits) == 1)
        assert polls() == 0
        newcomer = poll(plane, client)
        told = (await writing).json()
        assert told["convergence"]["reached"] is False
        await until(lambda: polls() == 1)
        await client.post(f"{CONFIGS}/models", json=model("n"))
        await newcomer
        assert polls() == 0


async def test_half_of_the_connections_that_there_are_descriptors_for_may_wait(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2**40
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine has descriptors without end")
    try:
        async with running(tmp_path, http_connections_max=wanted) as plane:
            assert plane.waits.waits_max == within_descriptors(wanted) // 2 < hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
