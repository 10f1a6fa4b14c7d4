"""A worker that is started for a demand loads what is asked for before a job comes."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.edge import edge_on
from tests.support.polling import until
from tests.support.worker_world import WorkerWorld, model_document, resolver_of, worker_world

from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_schemas import canonical, ipc
from sie_schemas.documents import admit_document
from sie_schemas.fleet import WantedModel, WorkerKind

pytestmark = pytest.mark.integration

RESOLVER = resolver_of(1, *(model_document(f"org/{name}") for name in ("one", "two", "three")))


def with_pool(resolver: Resolver, **changed: Any) -> Resolver:
    """The resolver with another default pool."""
    pool = admit_document("pool", {"name": "default"} | changed)
    entities = [entity for entity in resolver.registry if entity.kind != "pool"]
    entities.append(Entity("pool", "default", 1, canonical.dumps(pool)))
    return Resolver.of(Registry.of(entities), resolver.position)


def revisions(world: WorkerWorld) -> set[str]:
    return set(world.execution.loads)


async def test_a_model_that_found_no_worker_is_loaded_by_the_next_one_before_it_is_asked_again(
    tmp_path: Path,
) -> None:
    two = RESOLVER.resolve("org/two").revision
    async with worker_world(tmp_path) as world, edge_on(world.bus, RESOLVER) as edge:
        for _ in range(3):
            cold = await edge.ask("POST", "/v1/encode/org/two", json={"items": [{"text": "a"}]})
            assert cold.status_code == 202
        # Only now the worker has a registry, and is ready: it asks what it is wanted for.
        world.advance(RESOLVER)
        await until(lambda: world.execution.loads == [two])
        await until(lambda: any(beat.ready for beat in edge.parts.watch.live()))
        warm = await edge.ask("POST", "/v1/encode/org/two", json={"items": [{"text": "abc"}]})
        assert warm.json()["items"][0]["dense"]["values"][0] == 3.0
        assert world.execution.loads == [two]


async def test_a_worker_that_runs_already_is_told_at_once_and_a_failed_load_harms_nothing(
    tmp_path: Path,
) -> None:
    def only_three(request: ipc.Request) -> ipc.Reply | bytes | None:
        if isinstance(request, ipc.Load) and request.revision != three:
            return ipc.Failed(id=request.id, code="MODEL_LOAD_FAILED", message="no weights")
        return world.execution.usual_answer(request)

    three = RESOLVER.resolve("org/three").revision
    async with worker_world(tmp_path) as world, edge_on(world.bus, RESOLVER) as edge:
        world.execution.answer = only_three
        world.advance(RESOLVER)
        await until(lambda: any(beat.ready for beat in edge.parts.watch.live()))
        kind = WorkerKind("default", "cpu", "default")
        unknown = WantedModel(model_id="org/nobody")
        failing = WantedModel(model_id="org/one")
        wanted = WantedModel(model_id="org/three")
        await edge.parts.demand.tell(kind, (unknown, failing, wanted))
        await edge.parts.demand.tell(
            WorkerKind("night", "cpu", "default"), (WantedModel(model_id="org/two"),)
        )
        await until(lambda: three in revisions(world))
        assert RESOLVER.resolve("org/two").revision not in revisions(world)
        assert world.worker.reports()["org/one"].state == "failed"


async def test_what_a_pool_and_a_lease_pin_is_loaded_without_being_asked_for(
    tmp_path: Path,
) -> None:
    resolver = with_pool(RESOLVER, pinned_models=["org/one", "org/nobody"])
    one, two, three = (resolver.resolve(f"org/{name}").revision for name in ("one", "two", "three"))
    async with AsyncExitStack() as outer:
        world = await outer.enter_async_context(worker_world(tmp_path))
        edge = await outer.enter_async_context(edge_on(world.bus, resolver))
        lease = {"name": "eval", "gpus": {"cpu": 1}, "pinned_models": ["org/two"]}
        assert (await edge.ask("POST", "/v1/pools", json=lease)).status_code == 201
        world.advance(resolver)
        await until(lambda: revisions(world) == {one, two})
        lease |= {"pinned_models": ["org/three"]}
        assert (await edge.ask("POST", "/v1/pools", json=lease)).status_code == 201
        await until(lambda: revisions(world) == {one, two, three})
        # A device that lost everything gets it all again: this worker asks anew.
        before = len(world.execution.loads)
        await world.execution.die()
        await world.execution.start()
        await until(lambda: set(world.execution.loads[before:]) == {one, three})
