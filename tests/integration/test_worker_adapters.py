"""Adapters in a worker: those of one model share a batch where it fuses them, and fail alone."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.polling import until
from tests.support.worker_world import LOG_ID, WorkerWorld, model_document, worker_world

from sie_core.chain import Position
from sie_core.models import Catalog
from sie_core.registry import Entity, Registry
from sie_schemas import canonical, ipc
from sie_schemas.documents import admit_document
from sie_schemas.jobs import AdapterPin, Job

pytestmark = pytest.mark.integration


def _catalog(*names: str) -> Catalog:
    """One model with adapters of these names."""
    documents: list[tuple[str, str, dict[str, Any]]] = [
        ("bundle", "default", {"name": "default", "backends": ["scripted"]}),
        ("pool", "default", {"name": "default"}),
        ("model", "org/one", model_document("org/one")),
    ]
    source = {"type": "package", "package": "x", "distribution": "x", "version": "1"}
    documents += [
        ("adapter", f"org/one/{name}", {"model_id": "org/one", "name": name, "source": source})
        for name in names
    ]
    registry = Registry.of(
        Entity(kind, key, 1, canonical.dumps(admit_document(kind, document)))
        for kind, key, document in documents
    )
    return Catalog.of(registry, Position(LOG_ID, 1, "0" * 64, registry.digest, 1))


_CATALOG = _catalog("legal", "medical")


def _pin(name: str) -> AdapterPin:
    return AdapterPin(name, _CATALOG.adapter("org/one", name).revision)


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
            _CATALOG, "org/one", "x" * (place + 1), adapter=None if name is None else _pin(name)
        )
        for place, name in enumerate(names)
    ]


async def test_jobs_that_differ_only_in_their_adapter_share_a_batch(tmp_path: Path):
    async with worker_world(tmp_path, batches_ahead_max=1) as world:
        _fusing(world)
        world.advance(_CATALOG)
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


async def test_a_refused_adapter_fails_its_own_jobs_and_is_reported(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        _fusing(world)
        healthy = world.execution.answer

        def answer(request: ipc.Request) -> ipc.Reply | bytes | None:
            if isinstance(request, ipc.LoadAdapter) and request.adapter.name == "legal":
                return ipc.Failed(id=request.id, code="ADAPTER_LOAD_FAILED", message="it is a DoRA")
            return healthy(request)

        world.execution.answer = answer
        world.advance(_CATALOG)
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
