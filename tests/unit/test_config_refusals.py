"""The file of refused attempts: what was noted is read, whoever writes it at that moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.polling import until

from sie_config.past.refusals import Refusals


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Refusals]:
    refusals = Refusals(
        folder / "refused.sqlite", now_us=lambda: 1, rows_max=100, rows_per_minute=100
    )
    try:
        yield refusals
    finally:
        await refusals.close()


def noted(refusals: Refusals, path: str) -> None:
    refusals.note(
        actor="ada",
        outcome="MODEL_NOT_FOUND",
        status=404,
        method="DELETE",
        path=path,
        kind="model",
        key="m",
        reason="",
        message="there is no model m",
        request_id="",
    )


def test_a_reader_sees_what_another_flush_is_still_writing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as refusals:
            expected: list[str] = []
            for turn in range(20):
                noted(refusals, f"/{turn}")
                expected.insert(0, f"/{turn}")
                flush = asyncio.create_task(refusals.flush())
                await asyncio.sleep(0)  # The flush has taken the row and waits for the disk.
                rows = await refusals.newest_first("TRUE", (), before_us=10**17, limit=100)
                assert [row.path for row in rows] == expected
                await flush

    asyncio.run(story())


def test_flushes_at_one_time_lose_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as refusals:
            async with asyncio.TaskGroup() as flushes:
                for turn in range(50):
                    noted(refusals, f"/{turn}")
                    flushes.create_task(refusals.flush())
                    await asyncio.sleep(0)
            rows = await refusals.newest_first("TRUE", (), before_us=10**17, limit=100)
            assert [row.path for row in rows] == [f"/{turn}" for turn in reversed(range(50))]

    asyncio.run(story())


@pytest.mark.parametrize("also_later", [False, True])
async def test_what_could_not_be_written_is_written_though_nobody_else_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, also_later: bool
) -> None:
    stop, folder = asyncio.Event(), tmp_path / "away"
    async with opened(folder) as refusals, asyncio.TaskGroup() as tasks:
        tasks.create_task(refusals.run(stop, every_s=0.001))
        noted(refusals, "/1")
        await until(lambda: "refused attempts are not recorded yet" in caplog.messages)
        if also_later:
            noted(refusals, "/2")
        folder.mkdir()
        await until(lambda: refusals.unwritten == 0, within_s=20)
        rows = await refusals.newest_first("TRUE", (), before_us=10**17, limit=100)
        assert [row.path for row in rows] == ["/2"] * also_later + ["/1"]
        stop.set()
