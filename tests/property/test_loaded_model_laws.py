"""Laws of what a sidecar knows to be loaded: it is what the process beside it has."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.polling import until
from tests.support.scripted_execution import ScriptedExecution, connected_execution
from tests.support.worker_world import model_document, resolver_of

from sie_core.resolver import ResolvedAdapter, ResolvedModel
from sie_schemas import ipc
from sie_schemas.errors import Later, SIEError
from sie_schemas.jobs import AdapterPin
from sie_worker.execution.executor import Executor
from sie_worker.execution.models import Models

NAMES = ("org/a", "org/b", "org/c")
_RESOLVER = resolver_of(1, *map(model_document, NAMES))
MODELS: dict[str, ResolvedModel] = {name: _RESOLVER.resolve(name) for name in NAMES}
PIN = AdapterPin("legal", "1" * 64)
ADAPTER = ResolvedAdapter(PIN.name, PIN.revision, {"name": PIN.name, "model_id": "org/a"})  # type: ignore[typeddict-item]
COOLDOWN_S = 10.0


class Watched(Executor):
    """A connection that counts the loads which run beside each other."""

    running = most = 0

    async def load(
        self,
        revision: str,
        config: dict[str, Any],
        *,
        pinned: bool = False,
        running: Collection[str] = (),
    ) -> ipc.Loaded:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await super().load(revision, config, pinned=pinned, running=running)
        finally:
            self.running -= 1


class World:
    """A process that keeps a book of what it has loaded, and the sidecar's own."""

    def __init__(self, execution: ScriptedExecution, executor: Watched, *, says: bool) -> None:
        self.execution = execution
        self.executor = executor
        self._says = says
        self.now = 0.0
        self.pinned: set[str] = set()
        self.failing = ""
        """The code by which the next load fails."""
        self.loaded: dict[str, bool] = {}
        """By revision: is it pinned?"""
        self.adapters: set[tuple[str, AdapterPin]] = set()
        execution.answer = self._answer
        self.models = Models(
            executor,
            cooldown_s=COOLDOWN_S,
            latency_s=None,
            pinned=lambda resolved: resolved.model_id in self.pinned,
            clock=lambda: self.now,
            on_change=lambda: None,
        )

    def _answer(self, request: ipc.Request) -> ipc.Reply | bytes | None:
        match request:
            case ipc.Load() | ipc.LoadAdapter() if self.failing:
                code, self.failing = self.failing, ""
                return ipc.Failed(id=request.id, code=code, message="it does not load")
            case ipc.Load():
                self.loaded[request.revision] = request.pinned
            case ipc.LoadAdapter():
                if request.model_revision not in self.loaded:
                    return ipc.Failed(id=request.id, code="MODEL_LOADING", message="it has left")
                self.adapters.add((request.model_revision, request.adapter))
            case ipc.Unload():
                self.evict(request.revision)
        self.execution.resident = None
        if self._says:
            self.execution.resident = tuple(self.loaded)
        reply = self.execution.usual_answer(request)
        if isinstance(reply, ipc.Loaded) and self._says:
            return ipc.Loaded(
                id=reply.id,
                resident=tuple(self.loaded),
                revision=reply.revision,
                accepts="text",
                cost_unit="bytes4",
            )
        return reply

    def evict(self, revision: str) -> None:
        """The process lets go of a model, and of its adapters with it."""
        self.loaded.pop(revision, None)
        self.adapters = {each for each in self.adapters if each[0] != revision}

    async def die(self) -> None:
        """The process ends, and another one begins with nothing."""
        await self.execution.die()
        self.loaded.clear()
        self.adapters.clear()
        await until(lambda: not self.executor.connected)
        await self.execution.start()
        await self.executor.wait_connected()


@asynccontextmanager
async def world(*, says: bool = False) -> AsyncIterator[World]:
    """A process and the sidecar that is connected to it."""
    async with connected_execution(Watched) as (execution, executor):
        yield World(execution, executor, says=says)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [*["load", "load with adapter"] * 3, "evicted", "unwanted", "pin", "dies", "fails"]
        ),
        st.sampled_from(NAMES[:2]),
    ),
    max_size=14,
)


@given(steps=STEPS, says=st.booleans())
@example(steps=[(what, NAMES[0]) for what in ("load", "pin", "load")], says=False)
@settings(deadline=None, max_examples=40)
async def test_what_is_taken_for_loaded_is_what_the_process_has(steps, says):
    async with world(says=says) as there:
        for what, name in steps:
            resolved = MODELS[name]
            if what.startswith("load"):
                model = await there.models.ensure(resolved)
                assert there.loaded[resolved.revision] is (name in there.pinned)
                assert model.pinned is (name in there.pinned)
                if what != "load":
                    await there.models.ensure_adapter(model, PIN, ADAPTER)
                    assert (resolved.revision, PIN) in there.adapters
                assert there.models.reports()[name].state == "loaded"
                assert f"{name}+{PIN.name}" not in there.models.reports()
            elif what == "evicted":
                there.evict(resolved.revision)
                there.models.forget(resolved.revision)
            elif what == "unwanted":
                await there.models.unload_unless(partial(other_than, name))
                assert resolved.revision not in there.loaded
            elif what == "pin":
                there.pinned ^= {name}
            elif what == "dies":
                await there.die()
            else:
                await refused_once(there, resolved)
            assert there.loaded.keys() == there.models.revisions


def other_than(name: str, each: ResolvedModel) -> bool:
    return each.model_id != name


async def refused_once(there: World, resolved: ResolvedModel) -> None:
    """A load of the adapter that fails for good is told until one succeeds, and tried no more
    before its time."""
    model = await there.models.ensure(resolved)
    key = (resolved.revision, PIN)
    if key in there.adapters:
        return
    there.failing = "ADAPTER_LOAD_FAILED"
    for _ in range(2):
        asked = len(there.execution.requests)
        try:
            await there.models.ensure_adapter(model, PIN, ADAPTER)
        except SIEError as error:
            assert error.code == "ADAPTER_LOAD_FAILED"
        else:
            raise AssertionError("it was refused, and is not loaded")
        told = there.models.reports()[f"{resolved.model_id}+{PIN.name}"]
        assert (told.state, told.revision) == ("failed", PIN.revision)
    assert len(there.execution.requests) == asked, "it was asked for again at once"
    there.now += COOLDOWN_S
    await there.models.ensure_adapter(model, PIN, ADAPTER)
    assert f"{resolved.model_id}+{PIN.name}" not in there.models.reports()


@given(
    failures=st.integers(0, 3),
    first=st.integers(1, 3),
    later=st.integers(1, 3),
    gives_up=st.booleans(),
)
@settings(deadline=None, max_examples=30)
async def test_loads_of_one_revision_are_one_after_the_other_whatever_became_of_the_first(
    failures, first, later, gives_up
):
    """A load that may be tried again at once is tried by who waits, and by who comes just then."""
    resolved = MODELS[NAMES[0]]
    async with world() as there:
        left = failures
        demands: list[asyncio.Task[None]] = []

        async def demand() -> None:
            nonlocal left
            if left:
                left -= 1
                there.failing = "RESOURCE_EXHAUSTED"
            try:
                await there.models.ensure(resolved)
            except Later:
                return

        def more(_: object) -> None:
            demands.extend(asyncio.create_task(demand()) for _ in range(later))

        demands += [asyncio.create_task(demand()) for _ in range(first)]
        demands[0].add_done_callback(more)
        if gives_up:
            await until(lambda: bool(there.execution.loads))
            demands[0].cancel()
        while any(not each.done() for each in demands):
            await asyncio.wait(demands)
        assert there.executor.most <= 1


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES)), max_size=12))
@settings(deadline=None, max_examples=20)
async def test_of_the_models_that_left_those_asked_for_last_are_known(steps):
    kept = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sie_worker.execution.models._REMEMBERED_MAX", kept)
        async with world() as there:
            for name in NAMES:
                await there.models.ensure(MODELS[name])
            left: list[str] = []
            for leaves, name in steps:
                if leaves and MODELS[name].revision in there.models.revisions:
                    there.models.forget(MODELS[name].revision)
                    left = [*left, name][-kept:]
                elif there.models.described(MODELS[name].revision) is not None and name in left:
                    left = [*[each for each in left if each != name], name]
            for name in NAMES:
                known = there.models.described(MODELS[name].revision) is not None
                assert known is (name in left or MODELS[name].revision in there.models.revisions)
