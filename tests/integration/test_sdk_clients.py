"""Both clients against the gateway's real application, served on a port."""

import asyncio
import copy
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from tests.support.gateway_world import World, echo_result, gateway_world, heartbeat
from tests.support.polling import until
from tests.support.served import served_gateway

from sie_runtime.process.lifecycle import serve_http
from sie_schemas.jobs import ItemFailure, Job, JobFailure, JobResult
from sie_sdk import (
    Item,
    ProvisioningError,
    RequestError,
    ServerError,
    SIEAsyncClient,
    SIEAsyncConfigClient,
    SIEClient,
    SIEConfigClient,
    SIEConnectionError,
    TimeRanOut,
)
from sie_sdk.leases.keeper import AsyncLeaseKeeper
from sie_sdk.wire.per_process import PerProcess


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[tuple[World, str]]:
    async with gateway_world(**settings) as world:
        ports: list[int] = []
        stop = asyncio.Event()
        serving = asyncio.create_task(
            serve_http(
                world.app, host="127.0.0.1", port=0, stop=stop, on_listening=ports.append, drain_s=2
            )
        )
        await until(lambda: ports)
        try:
            yield world, f"http://127.0.0.1:{ports[0]}"
        finally:
            stop.set()
            await serving


def _everything(url: str) -> dict[str, Any]:
    with SIEClient(url) as client:
        return {
            "one": client.encode("org/dense", Item(text="four", id="a")),
            "string": client.encode("dense", "xy", options={"lora": "legal"}),
            "list": client.encode("dense", [Item(text="a"), {"text": "bb"}]),
            "mapping": client.encode("dense", {"text": "hello"}),
            "score": client.score("ranker", {"text": "q"}, ["a", {"text": "bb"}]),
            "extract": client.extract("finder", {"text": "find me"}),
            "models": client.list_models(),
            "model": client.get_model("org/dense"),
            "health": client.health(),
        }


async def _everything_async(url: str) -> dict[str, Any]:
    async with SIEAsyncClient(url) as client:
        return {
            "one": await client.encode("org/dense", Item(text="four", id="a")),
            "string": await client.encode("dense", "xy", options={"lora": "legal"}),
            "list": await client.encode("dense", [Item(text="a"), {"text": "bb"}]),
            "mapping": await client.encode("dense", {"text": "hello"}),
            "score": await client.score("ranker", {"text": "q"}, ["a", {"text": "bb"}]),
            "extract": await client.extract("finder", {"text": "find me"}),
            "models": await client.list_models(),
            "model": await client.get_model("org/dense"),
            "health": await client.health(),
        }


@pytest.mark.parametrize("is_async", [False, True])
async def test_every_call_answers_with_numpy_and_tells_how_it_was_made(is_async: bool) -> None:
    async with served() as (world, url):
        got = await (_everything_async(url) if is_async else asyncio.to_thread(_everything, url))
        adapter = world.resolver.adapter("org/dense", "legal")
    assert got["one"]["id"] == "a"
    assert got["one"]["dense"].dtype == np.float32
    assert got["one"]["dense"].tolist() == [4.0, 0.0, 0.0]
    assert got["one"]["request"]["epoch"] == "abababab.7"
    assert got["string"]["dense"].tolist() == [2.0, 0.0, 1.0]
    assert got["string"]["request"]["adapter_revision"] == adapter.revision
    assert got["one"]["request"]["adapter_revision"] == ""
    assert [result["dense"][0] for result in got["list"]] == [1.0, 2.0]
    assert got["mapping"]["dense"].tolist() == [5.0, 0.0, 0.0]
    assert [entry["item_id"] for entry in got["score"]["scores"]] == ["item-1", "item-0"]
    assert got["extract"]["entities"][0]["text"] == "find me"
    assert len(got["models"]) == 6
    assert got["model"]["name"] == "org/dense"
    assert got["health"]["type"] == "gateway"


async def test_a_cold_pool_is_waited_for_and_then_answers() -> None:
    async with served(warm=False, provisioning_retry_after_s=0.02) as (world, url):
        async with SIEAsyncClient(url) as client, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(client.encode("dense", "abc"))
            with pytest.raises(ProvisioningError) as refused:
                await client.encode("dense", "abc", wait_for_capacity=False)
            with pytest.raises(ProvisioningError):
                await client.encode("dense", "abc", provision_timeout_s=0.05)
            assert not waiting.done()
            await world.hear(heartbeat())
        assert waiting.result()["dense"][0] == 3.0
    assert refused.value.details["machine_profile"] == "cpu"


async def test_what_passes_is_sent_again_and_what_does_not_is_raised() -> None:
    def later_twice(job: Job) -> JobResult:
        if len(world.echo.seen) <= 2:
            failure = JobFailure("QUEUE_FULL", "busy", 0.01)
            return echo_result(job, answers=(), failure=failure)
        return echo_result(job)

    async with served() as (world, url), SIEAsyncClient(url) as client:
        world.echo.answer = later_twice
        assert (await client.encode("dense", "abc"))["dense"][0] == 3.0
        assert len(world.echo.seen) == 3
        with pytest.raises(RequestError) as unknown:
            await client.encode("dense", "abc", options={"lora": "nobody"})
        with pytest.raises(RequestError) as empty:
            await client.encode("dense", [])
        broken = JobFailure("INFERENCE_ERROR", "boom")
        world.echo.answer = lambda job: echo_result(job, answers=(), failure=broken)
        with pytest.raises(ServerError, match="boom"):
            await client.encode("dense", "abc")
        assert len(world.echo.seen) == 4
    assert unknown.value.code == "ADAPTER_NOT_FOUND"
    assert empty.value.field == "$.items"


async def test_a_failed_item_of_a_list_carries_its_error_and_a_single_one_raises() -> None:
    def second_fails(job: Job) -> JobResult:
        answers = (*echo_result(job).answers[:1], b"")
        failure = ItemFailure(1, "INPUT_TOO_LONG", "too long")
        return echo_result(job, answers=answers, item_failures=(failure,))

    async with served() as (world, url), SIEAsyncClient(url) as client:
        world.echo.answer = second_fails
        good, bad = await client.encode("dense", ["a", "b"])
    assert good["dense"][0] == 1.0
    assert bad["error"]["code"] == "INPUT_TOO_LONG"
    assert "dense" not in bad


async def test_a_client_that_hangs_up_cancels_its_request_and_frees_its_place() -> None:
    async with served(in_flight_items_max=1) as (world, url):
        world.echo.answer = lambda job: None
        async with SIEAsyncClient(url, timeout_s=0.1) as client:
            with pytest.raises(TimeRanOut):
                await client.encode("dense", "abc")
        [job] = world.echo.seen
        await until(lambda: (f"sie.cancel.{job.request_id}", b"") in world.bus.published)
        world.echo.answer = echo_result
        async with SIEAsyncClient(url) as client:
            assert (await client.encode("dense", "abc"))["dense"][0] == 3.0


async def test_a_gateway_that_is_not_there_is_a_connection_error() -> None:
    async with served() as (_, url):
        pass
    async with SIEAsyncClient(url) as client:
        with pytest.raises(SIEConnectionError, match=r"127\.0\.0\.1"):
            await client.list_models()


async def test_a_stop_lets_the_request_in_flight_finish() -> None:
    async with gateway_world() as world:
        world.echo.answer = lambda job: None
        ports: list[int] = []
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                serve_http(
                    world.app, host="127.0.0.1", port=0, stop=stop, on_listening=ports.append
                )
            )
            await until(lambda: ports)
            async with SIEAsyncClient(f"http://127.0.0.1:{ports[0]}") as client:
                asking = tasks.create_task(client.encode("dense", "abc"))
                await until(lambda: world.echo.seen)
                stop.set()
                await world.bus.deliver(echo_result(world.echo.seen[0]))
                assert (await asking)["dense"][0] == 3.0


_FORKS = """
import os, sys
from sie_sdk import SIEClient

def lengths(own):
    for _ in range(20):
        found = [each["dense"][0] for each in client.encode("dense", ["x" * own, "y" * (own + 1)])]
        assert found == [own, own + 1], (own, found)

client = SIEClient(sys.argv[1])
lengths(1)
children = []
for own in (10, 20, 30):
    child = os.fork()
    if child == 0:
        lengths(own)
        os._exit(0)
    children.append(child)
lengths(1)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""
"""A process that was forked by one that has connections: a pool of multiprocessing, a server's
worker."""


_LEASES_OF_FORKS = """
import os, threading
from sie_sdk.leases.keeper import LeaseKeeper
from sie_sdk.wire.per_process import PerProcess

renewed = threading.Event()
told = []

def renew(name):
    told.append(name)
    renewed.set()

keepers = PerProcess(lambda: LeaseKeeper(renew))
keepers.here().hold("parent", ttl_s=3600)
child = os.fork()
if child == 0:
    keepers.here().hold("child", ttl_s=0.01)
    # Its own alone: the parent's is renewed by the parent.
    os._exit(0 if renewed.wait(30) and set(told) == {"child"} else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_renews_its_own_leases() -> None:
    command = [sys.executable, "-c", _LEASES_OF_FORKS]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_a_forked_process_reads_its_own_answers() -> None:
    with served_gateway() as url:
        command = [sys.executable, "-c", _FORKS, url]
        run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


# What the first loop left open, nobody can close in order any more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_asynchronous_client_is_taken_along_to_the_next_loop() -> None:
    with served_gateway() as url:
        client = SIEAsyncClient(url)
        for text in ("a", "bb"):
            found = asyncio.run(client.encode("dense", text))
            assert found["dense"][0] == len(text)
        asyncio.run(client.close())
    # Here, where they are expected, and not in another test.
    gc.collect()


async def test_an_asynchronous_client_refuses_a_second_loop_beside_its_own() -> None:
    async with served() as (_, url), SIEAsyncClient(url) as client:
        await client.health()
        with pytest.raises(RuntimeError, match="make a client in each loop"):
            await asyncio.to_thread(lambda: asyncio.run(client.health()))
        await client.health()


async def test_an_asynchronous_client_is_closed_from_any_loop_and_for_every_one() -> None:
    async with served() as (_, url):
        client = SIEAsyncClient(url)
        await client.health()
        held = client._http.here()
        await asyncio.to_thread(lambda: asyncio.run(client.close()))
        assert held.is_closed
        for asked in (client.health(), asyncio.to_thread(lambda: asyncio.run(client.health()))):
            with pytest.raises(RuntimeError, match="has been closed"):
                await asked
        await client.close()


def test_an_asynchronous_client_whose_loop_rests_is_closed_from_another() -> None:
    with served_gateway() as url, asyncio.Runner() as first, asyncio.Runner() as second:
        client = SIEAsyncClient(url)
        first.run(client.health())
        client._leases._held = (os.getpid(), first.get_loop(), first.run(_renewing()))
        held = first.run(_here(client))
        second.run(client.close())
        assert held.is_closed
        # Its sockets and its task end here.
        first.run(asyncio.sleep(0))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("asks", [False, True])
def test_an_http_client_that_was_given_is_closed_with_its_client_in_any_loop(asks) -> None:
    with served_gateway() as url:
        given = httpx.AsyncClient()
        client = SIEAsyncClient(url, http_client=given)
        if asks:
            asyncio.run(client.health())
        asyncio.run(client.close())
        assert given.is_closed
    del given, client
    # The sockets of the loop that has ended.
    gc.collect()


async def _renewing() -> AsyncLeaseKeeper:
    keeper = AsyncLeaseKeeper(lambda _: asyncio.sleep(0))
    keeper.hold("one", ttl_s=3600)
    return keeper


async def _here(client: SIEAsyncClient) -> httpx.AsyncClient:
    return client._http.here()


def test_a_client_that_is_closed_is_closed_in_each_process_that_is_forked_from_it() -> None:
    closed: list[str] = []
    held = PerProcess(lambda: "one")
    held.close(closed.append)
    held.close(closed.append)
    assert closed == ["one"]
    with pytest.raises(RuntimeError, match="has been closed"):
        held.here()


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", [SIEClient, SIEAsyncClient, SIEConfigClient, SIEAsyncConfigClient])
def test_a_client_that_is_pickled_or_copied_says_what_to_do(kind, take) -> None:
    with pytest.raises(TypeError, match=f"make a {kind.__name__} where it is used"):
        take(kind("http://127.0.0.1:9"))
