"""Adapters in a worker: those of one model share a batch where it fuses them, and fail alone."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.polling import until
from tests.support.worker_world import LOG_ID, WorkerWorld, model_document, worker_world

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_schemas import canonical, ipc
from sie_schemas.documents import admit_document
from sie_schemas.jobs import AdapterPin, Job

pytestmark = pytest.mark.integration


def _resolver(*names: str, epoch: int = 1, version: str = "1") -> Resolver:
    """One model with adapters of these names, all from one version of a package."""
    documents: list[tuple[str, str, dict[str, Any]]] = [
        ("bundle", "default", {"name": "default", "backends": ["scripted"]}),
        ("pool", "default", {"name": "default"}),
        ("model", "org/one", model_document("org/one")),
    ]
    source = {"type": "package", "package": "x", "distribution": "x", "version": version}
    documents += [
        ("adapter", f"org/one/{name}", {"model_id": "org/one", "name": name, "source": source})
        for name in names
    ]
    registry = Registry.of(
        Entity(kind, key, 1, canonical.dumps(admit_document(kind, document)))
        for kind, key, document in documents
    )
    return Resolver.of(registry, Position(LOG_ID, epoch, "0" * 64, registry.digest, 1))


_RESOLVER = _resolver("legal", "medical")


def _pin(name: str, resolver: Resolver = _RESOLVER) -> AdapterPin:
    return AdapterPin(name, resolver.adapter("org/one", name).revision)


def _fusing(world: WorkerWorld) -> None:
    """The device says that it runs several adapters in one pass."""
    usual = world.execution.usual_answer

    def answer(request: ipc.Request) -> ipc.Reply | bytes | None:
        reply = usual(request)
        if isinstance(reply, ipc.Loaded):
            return msgspec.structs.replace(reply, fuses_adapters=True)
        return reply

    world.execution.answer = answer


async def _publish(world: WorkerWorld, *names: str | None) -> list[Job]:
    return [
        await world.publish(
            _RESOLVER, "org/one", "x" * (place + 1), adapter=None if name is None else _pin(name)
        )
        for place, name in enumerate(names)
    ]


async def test_jobs_that_differ_only_in_their_adapter_share_a_batch(tmp_path: Path):
    async with worker_world(tmp_path, batches_ahead_max=1) as world:
        _fusing(world)
        world.advance(_RESOLVER)
        world.execution.hold()
        jobs = await _publish(world, None)
        await until(lambda: world.execution.batches)
        jobs += await _publish(world, "legal", None, "medical", "legal")
        await until(
            lambda: sum(isinstance(r, ipc.LoadAdapter) for r in world.execution.requests) == 2
        )
        await until(lambda: int(world.worker.state()["items_in_hand"]) == 5)
        world.execution.let_go()

        results = [await world.result_of(job) for job in jobs]

        assert [result.failure for result in results] == [None] * 5
        first, second = world.execution.batches
        assert first.adapters == ()
        assert second.adapter is None
        assert sorted(pin.name if pin else "" for pin in second.adapters) == [
            "",
            "legal",
            "legal",
            "medical",
        ]
        # Each input goes with its own: the device answers a text with its length.
        assert [result.adapter for result in results] == [
            None,
            *(job.adapter for job in jobs[1:]),
        ]


async def test_jobs_of_one_batch_are_each_told_of_their_own_adapter(tmp_path: Path):
    """Adapters that were loaded are refused when their model comes back without them."""
    async with worker_world(tmp_path, batches_ahead_max=1) as world:
        _fusing(world)
        healthy = world.execution.answer
        left = {"legal", "medical"}

        def answer(request: ipc.Request) -> ipc.Reply | bytes | None:
            if not isinstance(request, ipc.LoadAdapter):
                return healthy(request)
            name = request.adapter.name
            if name in left:
                left.remove(name)
                return healthy(request)
            return ipc.Failed(id=request.id, code="ADAPTER_LOAD_FAILED", message=f"no {name}")

        world.execution.answer = answer
        world.advance(_RESOLVER)
        world.execution.hold()
        [first] = await _publish(world, None)
        await until(lambda: world.execution.batches)
        jobs = await _publish(world, "legal", "medical")
        await until(lambda: not left and int(world.worker.state()["items_in_hand"]) == 3)
        world.execution.evicted.add(first.model_revision)
        world.execution.let_go()

        results = [await world.result_of(job) for job in jobs]

        assert [[failure.message for failure in result.item_failures] for result in results] == [
            ["no legal"],
            ["no medical"],
        ]
        assert (await world.result_of(first)).failure is None


async def test_a_refused_adapter_fails_its_own_jobs_and_is_reported(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        _fusing(world)
        healthy = world.execution.answer

        def answer(request: ipc.Request) -> ipc.Reply | bytes | None:
            if isinstance(request, ipc.LoadAdapter) and request.adapter.name == "legal":
                return ipc.Failed(id=request.id, code="ADAPTER_LOAD_FAILED", message="it is a DoRA")
            return healthy(request)

        world.execution.answer = answer
        world.advance(_RESOLVER)
        refused, fine = await _publish(world, "legal", "medical")

        failed = await world.result_of(refused)
        answered = await world.result_of(fine)

        assert failed.failure is not None
        assert (failed.failure.code, failed.failure.message) == (
            "ADAPTER_LOAD_FAILED",
            "it is a DoRA",
        )
        assert answered.failure is None
        report = world.worker.reports()["org/one+legal"]
        assert (report.state, report.revision) == ("failed", _pin("legal").revision)
        assert report.reason == "it is a DoRA"
        assert world.worker.reports()["org/one"].state == "loaded"
        assert "org/one+medical" not in world.worker.reports()


async def test_an_adapter_that_loads_slowly_holds_up_no_other_lane(tmp_path: Path):
    async with worker_world(tmp_path, drain_s=0.1) as world:
        _fusing(world)
        healthy = world.execution.answer
        loading: list[ipc.LoadAdapter] = []

        def answer(request: ipc.Request) -> ipc.Reply | bytes | None:
            if isinstance(request, ipc.LoadAdapter) and request.adapter.name == "legal":
                loading.append(request)
                return None
            return healthy(request)

        world.execution.answer = answer
        world.advance(_RESOLVER)
        (waiting,) = await _publish(world, "legal")
        await until(lambda: loading)

        others = await _publish(world, None, "medical", None)
        assert [(await world.result_of(job)).failure for job in others] == [None] * 3
        assert not [each for each in world.inbox.results if each.job_id == waiting.job_id]


async def test_a_changed_or_deleted_adapter_takes_effect_with_its_epoch_and_jobs_in_flight_finish(
    tmp_path: Path,
):
    after = _resolver("legal", epoch=2, version="2")
    async with worker_world(tmp_path, previous_resolvers_max=1, hold_extend_s=0.05) as world:
        _fusing(world)
        world.advance(_RESOLVER)
        await world.result_of((await _publish(world, None))[0])
        world.execution.hold()
        in_flight = await _publish(world, "legal", "medical")
        await until(lambda: int(world.worker.state()["items_in_hand"]) == 2)

        world.advance(after)
        late = await _publish(world, "legal", "medical")
        new = await world.publish(after, "org/one", "abc", adapter=_pin("legal", after))
        await until(lambda: int(world.worker.state()["items_in_hand"]) == 5)
        world.execution.let_go()

        for job in (*in_flight, *late, new):
            result = await world.result_of(job)
            assert result.failure is None
            assert result.adapter == job.adapter, "it ran at the revision that it names"
        loaded = {
            request.adapter: request.config["source"]["version"]
            for request in world.execution.requests
            if isinstance(request, ipc.LoadAdapter)
        }
        assert loaded == {_pin("legal"): "1", _pin("medical"): "1", _pin("legal", after): "2"}

        # One change more, and no job may name what was before the last one.
        world.advance(_resolver("legal", epoch=3, version="2"))
        results = [await world.result_of(job) for job in await _publish(world, "legal", "medical")]
        assert [each.failure and each.failure.code for each in results] == ["REVISION_CHANGED"] * 2
        again = await world.publish(after, "org/one", "abc", adapter=_pin("legal", after))
        assert (await world.result_of(again)).failure is None
