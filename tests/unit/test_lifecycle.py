"""The life of a process: how it ends, who is told, and what it leaves."""

import asyncio
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_runtime.process.lifecycle import serve_http, stop_when

ENDING = """
import asyncio, os, sys
from sie_runtime.process.lifecycle import run

async def main(stop):
    raise {raised}

run(main, role="worker", process_id="w")
"""
ERRORS = (
    "ValueError('a defect')",
    "ExceptionGroup('of tasks', [ValueError('a defect')])",
    "BaseExceptionGroup('of tasks', [GeneratorExit('a defect')])",
)


@pytest.mark.parametrize("raised", ERRORS)
def test_an_error_that_nobody_handled_ends_a_process_with_status_1_and_one_line(raised):
    text = ENDING.format(raised=raised)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = (done.stdout + done.stderr).splitlines()
    assert "a defect" in json.loads(line)["error"]
    assert "the process ends" in line


MASKS = """
import os, sys
from sie_runtime.process.lifecycle import run

async def main(stop):
    pass

for mask in range(0o1000):
    for shares in (False, True):
        os.umask(mask)
        run(main, role="worker", process_id="w", log_level="error", shares_files=shares)
        assert os.umask(0) == (mask if shares else mask | 0o077), (oct(mask), shares)
"""


def test_files_are_closed_to_others_and_to_whom_the_users_own_mask_closes_them():
    subprocess.run([sys.executable, "-c", MASKS], check=True)


@given(st.sampled_from(["ends", "fails", "is cancelled"]))
async def test_the_others_stop_however_the_task_that_they_follow_is_over(how):
    stop, begun = asyncio.Event(), asyncio.Event()

    async def followed() -> None:
        begun.set()
        if how == "fails":
            raise ValueError
        if how == "is cancelled":
            await asyncio.Event().wait()

    following = asyncio.create_task(stop_when(stop, followed()))
    await begun.wait()
    if how == "is cancelled":
        following.cancel()
    await asyncio.wait([following])
    assert stop.is_set()
    assert following.cancelled() == (how == "is cancelled")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0:0:0:0:0:0:0:1"])
@pytest.mark.parametrize("how", ["stops", "is cancelled"])
async def test_a_server_that_is_over_listens_no_more(host, how):
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def nothing(scope, receive, send):
        raise AssertionError("nobody asks")

    serving = asyncio.create_task(
        serve_http(nothing, host=host, port=0, stop=stop, on_listening=port.set_result)
    )
    _, writer = await asyncio.open_connection(host, await port)
    writer.close()
    if how == "stops":
        stop.set()
    else:
        serving.cancel()
    await asyncio.wait([serving])
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(host, port.result())


async def test_a_port_that_another_has_is_told_and_not_shared_unless_both_share_it():
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def nothing(scope, receive, send):
        raise AssertionError("nobody asks")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve_http(
                nothing,
                host="127.0.0.1",
                port=0,
                stop=stop,
                on_listening=port.set_result,
                share_port=True,
            )
        )
        there = await port
        with pytest.raises(OSError, match="in use"):
            async with asyncio.timeout(10):
                await serve_http(nothing, host="127.0.0.1", port=there, stop=stop)
        also = asyncio.get_running_loop().create_future()
        tasks.create_task(
            serve_http(
                nothing,
                host="127.0.0.1",
                port=there,
                stop=stop,
                on_listening=also.set_result,
                share_port=True,
            )
        )
        assert await also == there
        stop.set()
