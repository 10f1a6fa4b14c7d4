"""One worker before two devices: scripted execution processes behind a real broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.integration.test_worker_stories import numbers
from tests.support.polling import until
from tests.support.scripted_execution import ScriptedExecution, scripted_execution
from tests.support.worker_world import WorkerWorld, model_document, resolver_of, worker_world

from sie_schemas import ipc

pytestmark = pytest.mark.integration

BOTH = resolver_of(1, model_document("org/one"), model_document("org/two"))


@asynccontextmanager
async def two_devices(
    folder: Path, **changed: Any
) -> AsyncIterator[tuple[WorkerWorld, ScriptedExecution]]:
    """A worker, and the second of its devices; the first is the world's `execution`."""
    (folder / "second").mkdir()
    async with scripted_execution(folder / "second") as second:
        sockets = (str(folder / "execution.sock"), str(second.path))
        async with worker_world(folder, socket_path=sockets, **changed) as world:
            world.advance(BOTH)
            await until(lambda: world.worker.state()["executors"] == 2)
            yield world, second


async def test_models_are_loaded_where_the_fewest_are(tmp_path: Path):
    async with two_devices(tmp_path) as (world, second):
        for model_id in ("org/one", "org/two"):
            assert numbers(await world.result_of(await world.publish(BOTH, model_id, "a"))) == [1]
        assert len(world.execution.loads) == len(second.loads) == 1
        await until(lambda: len(world.heartbeats[-1].models) == 2)
        assert {each.state for each in world.heartbeats[-1].models.values()} == {"loaded"}


async def test_a_model_that_keeps_its_device_busy_is_loaded_on_the_idle_one(tmp_path: Path):
    async with two_devices(tmp_path, spread_after=3) as (world, second):
        world.execution.hold()
        jobs = [await world.publish(BOTH, "org/one", "a") for _ in range(4)]
        await until(lambda: second.loads)
        assert second.loads == world.execution.loads

        jobs.append(await world.publish(BOTH, "org/one", "bb"))

        assert numbers(await world.result_of(jobs[-1])) == [2]
        world.execution.let_go()
        assert [numbers(await world.result_of(job)) for job in jobs[:-1]] == [[1]] * 4


async def test_a_long_list_is_shared_by_the_devices_and_keeps_its_order(tmp_path: Path):
    async with two_devices(tmp_path, spread_after=1) as (world, second):
        world.execution.hold()
        first = [await world.publish(BOTH, "org/one", "a") for _ in range(2)]
        await until(lambda: second.loads)
        world.execution.let_go()
        for job in first:
            await world.result_of(job)
        await until(lambda: world.worker.state()["items_in_hand"] == 0)

        # About 100 of cost each: six of them are worth two devices.
        texts = ["x" * (400 - place) for place in range(6)]
        job = await world.publish(BOTH, "org/one", *texts)

        assert numbers(await world.result_of(job)) == [float(len(text)) for text in texts]
        # In how many batches depends on how long the first ones were seen to take.
        shares = [
            sum(len(batch.inputs) for batch in each.batches) - 1
            for each in (world.execution, second)
        ]
        assert sum(shares) == 6
        assert min(shares) > 0


async def test_when_one_device_dies_the_other_runs_what_it_had(tmp_path: Path):
    async with two_devices(tmp_path) as (world, second):
        world.execution.hold()
        lost = await world.publish(BOTH, "org/one", "abc")
        await until(lambda: world.execution.batches)

        await world.execution.die()

        assert numbers(await world.result_of(lost)) == [3]
        assert len(second.batches) == 1
        assert world.worker.ready
        world.execution.let_go()
        await world.execution.start()
        await until(lambda: world.worker.state()["executors"] == 2)


async def test_a_pin_holds_on_every_device_that_has_the_model(tmp_path: Path):
    async with two_devices(tmp_path, spread_after=1) as (world, second):
        world.execution.hold()
        jobs = [await world.publish(BOTH, "org/one", "a") for _ in range(2)]
        await until(lambda: second.loads)
        world.execution.let_go()
        for job in jobs:
            await world.result_of(job)

        world.advance(
            resolver_of(
                2, model_document("org/one"), model_document("org/two"), pinned=("org/one",)
            )
        )

        revision = BOTH.resolve("org/one").revision
        await until(lambda: pinned(world.execution) == pinned(second) == [revision])


def pinned(device: ScriptedExecution) -> list[str]:
    return [load.revision for load in device.requests if isinstance(load, ipc.Load) and load.pinned]


async def test_memory_that_devices_share_is_counted_once(tmp_path: Path):
    async with two_devices(tmp_path) as (world, second):
        await until(lambda: total(world) == 2_000_000)
        for device in (world.execution, second):
            device.hello = replace(device.hello, memory_shared=True)
            await device.die()
            await device.start()
        await until(lambda: total(world) == 1_000_000)


def total(world: WorkerWorld) -> int:
    return world.heartbeats[-1].memory_total_bytes if world.heartbeats else 0
