"""Clients that start as many long jobs as they can, to starve what the process lives by."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.config_writer import model
from tests.support.log_world import nowhere
from tests.support.polling import until

pytestmark = pytest.mark.integration

MODELS: Final = "/v1/configs/models"
DRY: Final = f"{MODELS}?dry_run=true"
SPARSE: Final = 60 * 1024**3
PROMPT_S: Final = 30.0
"""More than twenty times what anything here takes, where it does not wait for somebody's job."""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder that takes minutes to read."""
    folder = tmp_path / "weights"
    folder.mkdir()
    with (folder / "model.bin").open("wb") as file:
        file.truncate(SPARSE)
    return folder


@contextlib.asynccontextmanager
async def starving(url: httpx.URL, paths: list[Path]) -> AsyncIterator[list[asyncio.Task[int]]]:
    """One client for each path, which has it read; they hang up at the end."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:

        async def ask(path: Path) -> int:
            source = {"type": "path", "path": str(path)}
            return (await client.post(DRY, json=model("m", source=source))).status_code

        tasks = [asyncio.create_task(ask(path)) for path in paths]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def promptly(answer: Coroutine[Any, Any, httpx.Response], status: int = 200) -> None:
    async with asyncio.timeout(PROMPT_S):
        assert (await answer).status_code == status


def children(pid: int) -> Iterator[int]:
    """The processes that a process has begun and not yet buried."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_bytes().rpartition(b")")[2].split()
            if int(fields[1]) == pid:
                yield int(stat.parent.name)


async def all_is_well(client: httpx.AsyncClient, round_: int) -> None:
    await promptly(client.get("/readyz"))
    await promptly(client.post(MODELS, json=model(f"m{round_}")), 201)
    await promptly(client.get("/v1/configs/export"))
    await promptly(client.get("/v1/configs/verify"))
    await promptly(client.get(f"{MODELS}?at=2"))


async def test_long_readings_keep_nothing_else_from_being_done(tmp_path, weights):
    allowed = ("--weights-folders", str(weights), "--manifest-readers-max", "2")
    async with config_process(tmp_path / "data", nowhere(), *allowed) as (process, client):
        for round_, clients in enumerate((8, 64)):
            async with starving(client.base_url, [weights] * clients) as asked:
                await until(lambda: len(list(children(process.pid))) == 2)
                refused = clients - 2
                await until(lambda: sum(t.done() for t in asked) == refused)  # noqa: B023
                assert {task.result() for task in asked if task.done()} == {503}
                await all_is_well(client, round_)
            # They hung up: what was read for them is read no more.
            await until(lambda: list(children(process.pid)) == [], within_s=PROMPT_S)
        async with starving(client.base_url, [weights] * 8):
            await until(lambda: len(list(children(process.pid))) == 2)
            readers = list(children(process.pid))
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PROMPT_S) == 0
        await gone(readers)


async def test_a_killed_writer_leaves_no_reader_behind(tmp_path, weights):
    allowed = ("--weights-folders", str(weights))
    async with (
        config_process(tmp_path / "data", nowhere(), *allowed) as (process, client),
        starving(client.base_url, [weights]),
    ):
        await until(lambda: list(children(process.pid)) != [])
        readers = list(children(process.pid))
        process.kill()
        await process.wait()
        await gone(readers)


async def test_a_crowd_that_looks_into_the_past_does_not_hold_up_the_end(tmp_path):
    flags = ("--past-registries", "1", "--drain-s", "1")
    async with config_process(tmp_path / "data", nowhere(), *flags) as (process, client):
        operations = [
            {"op": "put", "kind": "model", "document": model(f"org/m{number}")}
            for number in range(1000)
        ]
        made = await client.post("/v1/configs/batch", json={"operations": operations})
        assert made.status_code == 201
        for number in range(8):
            await promptly(client.post(MODELS, json=model(f"before{number}")), 201)
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=client.base_url, timeout=60, limits=limits) as crowd:
            paths = [f"{MODELS}?at={4 + number % 8}" for number in range(64)]
            asked = [asyncio.create_task(crowd.get(path)) for path in paths]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            await all_is_well(client, 0)
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 2 * PROMPT_S) == 0
            answers = await asyncio.gather(*asked, return_exceptions=True)
        told = {each.status_code for each in answers if isinstance(each, httpx.Response)}
        assert 200 in told


async def gone(pids: list[int]) -> None:
    folders = [Path(f"/proc/{pid}") for pid in pids]
    await until(lambda: not any(folder.exists() for folder in folders), within_s=PROMPT_S)
