"""The loop's own pool of threads belongs to what a process lives by, and to nothing else."""

import ast
import asyncio
import threading
from pathlib import Path

import pytest

from sie_runtime.process.aside import Aside

ROOT = Path(__file__).parents[2]
LIVES_BY = {
    "shared/runtime/sie_runtime/follower/follower.py",
    "shared/runtime/sie_runtime/follower/log_source.py",
    "shared/runtime/sie_runtime/follower/replica_reports.py",
    # Each of its threads writes to one worker; the process has nothing else there.
    "data_plane/sie_server/socket/server.py",
}
"""A replica's files and what it fetched, a few calls at a time, none of which a client asks for."""


def uses(source: str) -> list[int]:
    """Lines that give work to the pool that all share."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        first = node.args[0] if node.args else None
        shared = isinstance(first, ast.Constant) and first.value is None
        if name in {"to_thread", "run_in_threadpool"} or (name == "run_in_executor" and shared):
            found.append(node.lineno)
    return found


def test_no_process_gives_the_work_of_clients_to_the_pool_that_all_share():
    folders = ("control_plane", "data_plane", "shared/runtime")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    told = {str(path.relative_to(ROOT)): uses(path.read_text()) for path in files}
    assert {name for name, lines in told.items() if lines} == LIVES_BY


def test_the_law_sees_each_way_to_that_pool():
    ways = ["asyncio.to_thread(f)", "to_thread(f)", "loop.run_in_executor(None, f)"]
    assert [uses(way) for way in [*ways, "run_in_threadpool(f)"]] == [[1]] * 4
    assert uses("loop.run_in_executor(pool, f)") == []


async def test_one_kind_of_call_waits_for_no_other_and_drops_what_waits_at_its_end():
    long, short, held = Aside("long"), Aside("short"), threading.Event()
    ran: list[int] = []
    calls = [asyncio.create_task(long.run(held.wait)) for _ in range(64)]
    assert await asyncio.wait_for(short.run(sorted, [2, 1], reverse=True), 60) == [2, 1]
    await asyncio.wait_for(asyncio.to_thread(ran.append, 1), 60)
    long.end()
    short.end()
    held.set()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert done[0] is True
    assert all(isinstance(each, asyncio.CancelledError) for each in done[1:])
    with pytest.raises(RuntimeError):
        await long.run(held.wait)
