"""Waits for news: the one that ends for a newcomer."""

import asyncio

import pytest

from sie_runtime.process.waiting import Waits


async def waited(waits: Waits, whose: str, seconds: float, ended: list[str]) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    async with waits.until(deadline, whose) as limit:
        await asyncio.Event().wait()
    ended.append(whose if limit.when() == deadline else f"{whose} early")


async def begun(waits: Waits, ended: list[str], *callers: str) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.create_task(waited(waits, whose, 3600, ended)) for whose in callers]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_a_newcomer_ends_the_oldest_wait_of_whoever_has_most() -> None:
    waits, ended = Waits(3), list[str]()
    tasks = await begun(waits, ended, "a", "b", "b")
    assert (len(waits), ended) == (3, [])
    tasks += await begun(waits, ended, "b")
    assert (len(waits), ended) == (3, ["b early"])
    assert tasks[1].done()
    assert not tasks[2].done()
    tasks += await begun(waits, ended, *["b"] * 100)
    assert len(waits) == 3
    assert ended == ["b early"] * 101, "who has one keeps it"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(waits) == 0


async def test_a_wait_ends_by_its_time_and_by_its_news() -> None:
    waits, ended = Waits(3), list[str]()
    await waited(waits, "a", 0.0, ended)
    assert ended == ["a"]
    async with waits.until(asyncio.get_running_loop().time() + 3600, "a"):
        assert len(waits) == 1
    assert len(waits) == 0


async def test_a_time_that_ran_out_inside_a_wait_is_told_to_its_caller() -> None:
    waits = Waits(3)
    with pytest.raises(TimeoutError, match="the broker"):
        async with waits.until(asyncio.get_running_loop().time() + 3600, "a"):
            raise TimeoutError("the broker did not answer")
    assert len(waits) == 0
