"""Pages of the log and the audit take turns: a crowd of readers has few of them in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.config_writer import put, running

from sie_config.http.api import build_app
from sie_config.http.follow_routes import entry_lines
from sie_config.writer_process import ControlPlane

LINES = {"accept": "application/x-ndjson"}
LOG, AUDIT = "/v1/configs/log", "/v1/configs/audit"
MODELS = 120
"""More than a page of lines."""
AT_ONCE = 2
"""A page of the audit has a thousand rows: those of 150 readers took hundreds of megabytes."""


@contextlib.asynccontextmanager
async def grown(folder: Path) -> AsyncIterator[tuple[ControlPlane, httpx.AsyncClient]]:
    async with running(folder) as plane:
        for number in range(MODELS):
            await put(plane, f"org/m{number}")
        transport = httpx.ASGITransport(build_app(plane))
        async with httpx.AsyncClient(transport=transport, base_url="http://config") as client:
            yield plane, client


@pytest.mark.parametrize("path", [LOG, AUDIT])
async def test_a_stream_waits_for_its_turn_and_who_writes_does_not(path: str, tmp_path: Path):
    async with grown(tmp_path) as (plane, client), contextlib.AsyncExitStack() as others:
        whole = (await client.get(path, headers=LINES)).text
        for _ in range(AT_ONCE):
            await others.enter_async_context(plane.pages.turn())
        stream = asyncio.create_task(client.get(path, headers=LINES))
        for number in range(20):
            await put(plane, f"org/later{number}")
            assert (await client.get("/v1/configs/epoch")).status_code == 200
        assert not stream.done(), "a third page is read while two are"
        await others.aclose()
        told = (await stream).text
        assert told.startswith(whole) if path == LOG else told.endswith(whole)


async def test_who_reads_nothing_of_a_stream_takes_nobodys_turn(tmp_path: Path):
    async with grown(tmp_path) as (plane, client):
        head = plane.sequencer.position.epoch
        crowd = [entry_lines(plane, 0, head) for _ in range(10)]
        async with asyncio.timeout(30):
            begun = [await anext(each) for each in crowd]
            for path in (LOG, AUDIT):
                assert (await client.get(path, headers=LINES)).text.count("\n") >= MODELS
        for first, each in zip(begun, crowd, strict=True):
            rest = [part async for part in each]
            assert b"".join([first, *rest]).count(b"\n") == head
