"""Laws of what a device is handed: each text once, and nothing of who has left, whatever leaves."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.polling import until
from tests.support.schedulers import scheduler_with
from tests.support.scripted_execution import ScriptedExecution, connected_execution
from tests.support.worker_world import model_document, resolver_of, results_of

from sie_core.resolver import ResolvedAdapter, ResolvedModel
from sie_core.stored_documents import AdapterJson
from sie_runtime.broker.bus import Bus
from sie_runtime.streams.deliveries import Delivery
from sie_schemas import arrays, ipc
from sie_schemas.items import Item
from sie_schemas.jobs import RESULT_DECODER, AdapterPin, Job, JobResult, ResultReceipt
from sie_worker.device.device import Device, DeviceLimits
from sie_worker.execution.executor import Executor
from sie_worker.execution.models import Models
from sie_worker.intake.cancelled import CancelledRequests
from sie_worker.jobs.holds import Hold, Holds
from sie_worker.scheduling.lanes import Lane, QueuedInput

MODEL = resolver_of(1, model_document("org/a", cost_max=4, wait_ms=0.0)).resolve("org/a")
ROOMY = resolver_of(1, model_document("org/a", cost_max=64, wait_ms=0.0)).resolve("org/a")
DTYPES = ("float32", "float16")
LIMITS = DeviceLimits(
    grace_s=8.0,
    handover_s=3.0,
    tick_s=0.001,
    retry_delay_s=0.0,
    load_share=0.5,
    # Of four texts with a bad one some are left for another turn.
    isolation_passes_max=2,
)
REFUSED = {"refused": "ADAPTER_LOAD_FAILED", "too large": "RESOURCE_EXHAUSTED"}
"""Adapters that cannot be loaded, and why."""
FACTORS = {None: 1.0, "one": 2.0, "two": 4.0}
"""The number by which an adapter multiplies."""


def weighed(texts: Sequence[str], pins: Sequence[AdapterPin | None]) -> ipc.DenseAnswers:
    """Three numbers for each text: of its length, and of its adapter."""
    rows = [
        [each * len(text) * FACTORS[None if pin is None else pin.name] for each in (1.0, 2.0, 2.0)]
        for text, pin in zip(texts, pins, strict=True)
    ]
    return ipc.DenseAnswers(3, np.array(rows, dtype="<f4").tobytes())


class World:
    """One device, a queue and a gateway in memory, and what each was told."""

    def __init__(
        self,
        execution: ScriptedExecution,
        executor: Executor,
        model: ResolvedModel,
        tenant_quantum: int,
    ) -> None:
        self.model = model
        self.lane = Lane(model.revision, "default", "encode")
        self.server_id = "s"
        self.stream_replicas = 1
        self.now = 0.0
        self.has_peers = False
        self.back: list[str] = []
        """Jobs that the queue was given back."""
        self.holds = Holds(on_room=lambda: None, age_s=lambda _: 0.0)
        self.cancelled = CancelledRequests(ids_max=100)
        self.results: dict[str, JobResult] = {}
        self.done: list[str] = []
        """Jobs that the queue was told are done."""
        self.answered: list[str] = []
        """Texts that a batch ended well for, in order."""
        self.leaving: dict[int, str] = {}
        """The request that leaves while the load of that number runs."""
        self.evictions: list[bool] = []
        """Of the batches in order: does it find that its model has left?"""
        self.has_weights = False
        """Vectors have three numbers, and adapters change them."""
        self.wrongs: list[str] = []
        """The runs that should not have been: an error in here would only cut the connection."""
        self._loads = 0
        self.execution = execution
        execution.answer = self._answer
        self._usual = execution.usual_answer
        self.device = Device(
            name="0",
            executor=executor,
            models=Models(
                executor,
                cooldown_s=10.0,
                latency_s=None,
                pinned=lambda _: False,
                clock=lambda: self.now,
                on_change=lambda: None,
            ),
            scheduler=scheduler_with(tenant_quantum=tenant_quantum),
            holds=self.holds,
            results=results_of(self, self.holds, dead_letters=self, clock=lambda: self.now),
            limits=LIMITS,
            clock=lambda: self.now,
            drop_holds=self._drop_holds,
            has_peers=lambda: self.has_peers,
            cancelled=self.cancelled,
        )

    async def write(self, hold: Hold, result: JobResult) -> None:
        """A dead letter."""

    def _drop_holds(self, numbers: Any) -> None:
        self.device.scheduler.drop_holds(numbers)

    def send_to_all(self, replies: Sequence[bytes], word: bytes) -> None:
        """The queue hears that jobs are done, or are given back."""
        told = self.done if word.startswith(b"+ACK") else self.back
        told += [reply.split(b".")[3].decode() for reply in replies]

    async def request(self, _subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """The gateway takes results."""
        found = RESULT_DECODER.decode(data).results
        for result in found:
            if result.job_id in self.results:
                self.wrongs.append(f"{result.job_id} was answered before")
            self.results[result.job_id] = result
        return msgspec.msgpack.encode(ResultReceipt(job_ids=tuple(each.job_id for each in found)))

    def _answer(self, request: ipc.Request) -> ipc.Reply | bytes | None:
        match request:
            case ipc.Load():
                self._loads += 1
                if (name := self.leaving.get(self._loads)) is not None:
                    self.cancelled.add(name)
                    self.device.cancel(name)
            case ipc.RunBatch():
                texts = [cast(ipc.TextInput, item).text for item in request.inputs]
                self._judge(texts)
                if self.evictions and self.evictions.pop(0):
                    return ipc.Failed(id=request.id, code="MODEL_LOADING", message="it has left")
                if any(text.endswith("poison") for text in texts):
                    return ipc.Failed(id=request.id, code="INFERENCE_ERROR", message="poison")
                self.answered += texts
                if self.has_weights:
                    pins = request.adapters or (request.adapter,) * len(texts)
                    return ipc.BatchDone(
                        id=request.id, answers=weighed(texts, pins), inference_ms=1.0
                    )
            case ipc.LoadAdapter() if (code := REFUSED.get(request.adapter.name)) is not None:
                return ipc.Failed(id=request.id, code=code, message="it is not loaded")
        return self._usual(request)

    def _judge(self, texts: Sequence[str]) -> None:
        for text in texts:
            if text in self.answered:
                self.wrongs.append(f"{text} was answered, and is run again")
            if text.split()[0] in self.cancelled:
                self.wrongs.append(f"{text}: its client has left")

    async def put(
        self,
        jobs: Sequence[Sequence[bool]],
        *,
        deliveries: int = 1,
        adapters: Sequence[str | None] = (),
        widths: Sequence[int | None] = (),
    ) -> None:
        """Have jobs of one request each run: for each text, is it poison? Every second one wants
        half floats. `adapters` and `widths` are those of the jobs, none where they end."""
        model = await self.device.models.ensure(self.model)
        for number, texts in enumerate(jobs):
            name = f"r{number}"
            items = tuple(
                Item(
                    text=f"{name} {place} {'x' * place}{'poison' if bad else 'good'}",
                    id=f"{name}-{place}" if place else None,
                )
                for place, bad in enumerate(texts)
            )
            adapter = adapters[number] if number < len(adapters) else None
            pin = None if adapter is None else AdapterPin(name=adapter, revision=adapter)
            job = Job(
                job_id=name,
                request_id=name,
                reply_to="inbox",
                first_item=0,
                published_at=0.0,
                log_id="1" * 32,
                epoch=1,
                model_id="org/a",
                profile="default",
                model_revision=self.model.revision,
                operation="encode",
                items=items,
                deadline=60.0,
                output_dtype=DTYPES[number % 2],
                dimensions=widths[number] if number < len(widths) else None,
                adapter=pin,
                tenant=name,
            )
            reply = f"$JS.ACK.S.{name}.{deliveries}.1.1.0.0".encode()
            hold = self.holds.open(job, Delivery(cast(Bus, self), b"", reply, 3), 0.0)
            assert hold is not None
            hold.model = model
            if pin is not None:
                document = cast(AdapterJson, {"name": pin.name})
                hold.adapter = ResolvedAdapter(pin.name, pin.revision, document)
            inputs = [
                QueuedInput(hold.number, name, place, 1, 60.0, ipc.TextInput(item.text or ""), name)
                for place, item in enumerate(items)
            ]
            self.device.add(self.lane, model, inputs, now=0.0)


@asynccontextmanager
async def world(model: ResolvedModel = MODEL, tenant_quantum: int = 64) -> AsyncIterator[World]:
    """A device with its process; it runs once the context is entered."""
    async with connected_execution(Executor) as (execution, executor):
        yield World(execution, executor, model, tenant_quantum)


@given(
    jobs=st.lists(st.lists(st.booleans(), min_size=1, max_size=3), min_size=1, max_size=4),
    evictions=st.lists(st.booleans(), max_size=8).filter(lambda drawn: sum(drawn) <= 3),
    leaving=st.dictionaries(st.integers(2, 4), st.sampled_from(["r0", "r1", "r2"]), max_size=2),
)
@settings(deadline=None, max_examples=40)
async def test_a_text_is_answered_once_and_nothing_is_run_for_who_has_left(
    jobs, evictions, leaving
):
    """Models are gone at most three times, so that no batch gives up; poison splits batches."""
    async with world() as made, asyncio.TaskGroup() as group:
        made.leaving, made.evictions = leaving, evictions
        await made.put(jobs)
        stop = asyncio.Event()
        group.create_task(made.device.run(stop))
        await until(lambda: not len(made.holds) or bool(made.wrongs))
        stop.set()
        made.device.wake()
        assert not made.wrongs
        for number, texts in enumerate(jobs):
            name = f"r{number}"
            assert made.done.count(name) == 1
            if name in made.cancelled:
                continue
            result = made.results[name]
            failed = {each.index for each in result.item_failures}
            assert failed == {place for place, bad in enumerate(texts) if bad}
            for place, answer in enumerate(result.answers):
                if place not in failed:
                    dense = msgspec.msgpack.decode(answer)["dense"]
                    assert dense["dtype"] == DTYPES[number % 2]
                    text = f"{name} {place} {'x' * place}good"
                    assert arrays.from_wire(dense["values"]).tolist() == [len(text)]


MATES = st.lists(
    st.tuples(
        st.lists(st.sampled_from([False, False, True]), min_size=1, max_size=3),
        st.sampled_from([None, "one", "two", *REFUSED]),
        st.sampled_from([None, 1, 2, 3]),
    ),
    min_size=2,
    max_size=4,
)


@given(mates=MATES, evictions=st.lists(st.booleans(), max_size=3))
@settings(deadline=None, max_examples=40)
async def test_batch_mates_have_each_their_own_adapter_width_type_and_name(mates, evictions):
    """All share one batch at first. An adapter that cannot be loaded fails its own jobs alone."""
    async with world(ROOMY) as made, asyncio.TaskGroup() as group:
        made.has_weights, made.evictions = True, evictions
        jobs, adapters, widths = zip(*mates, strict=True)
        made.now = 1.0
        await made.put(jobs, adapters=adapters, widths=widths)
        stop = asyncio.Event()
        group.create_task(made.device.run(stop))
        await until(lambda: not len(made.holds) or bool(made.wrongs))
        stop.set()
        made.device.wake()
        assert not made.wrongs
        for number, (texts, adapter, width) in enumerate(mates):
            result = made.results[f"r{number}"]
            codes = {each.index: each.code for each in result.item_failures}
            if adapter in REFUSED:
                assert codes == dict.fromkeys(range(len(texts)), REFUSED[adapter])
                continue
            assert codes == {at: "INFERENCE_ERROR" for at, bad in enumerate(texts) if bad}
            assert result.timing.queue_ms == 1000.0
            for place in set(range(len(texts))) - codes.keys():
                told = msgspec.msgpack.decode(result.answers[place])
                assert told.get("id") == (f"r{number}-{place}" if place else None)
                whole = np.array([1.0, 2.0, 2.0]) * FACTORS[adapter]
                whole *= len(f"r{number} {place} {'x' * place}good")
                kept = whole[: width or 3]
                wanted = whole if len(kept) == 3 else kept / np.linalg.norm(kept)
                assert told["dense"]["dtype"] == DTYPES[number % 2]
                found = arrays.from_wire(told["dense"]["values"])
                assert np.allclose(found, wanted, rtol=1e-3, atol=0)


@given(
    has_peers=st.booleans(),
    waits=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    deliveries=st.sampled_from([1, 3]),
)
@settings(deadline=None, max_examples=20)
async def test_what_waits_for_a_process_that_is_away_goes_back_after_its_grace_and_not_before(
    has_peers, waits, deliveries
):
    """It goes back sooner where others could run it; nobody is blamed for what nobody began."""
    async with world() as made, asyncio.TaskGroup() as group:
        made.has_peers = has_peers
        await made.put([[False]], deliveries=deliveries)
        await made.execution.die()
        await until(lambda: not made.device.connected)
        stop = asyncio.Event()
        group.create_task(made.device.run(stop))
        grace_s = LIMITS.handover_s if has_peers else LIMITS.grace_s
        for wait_s in waits:
            made.now += wait_s
            is_over = made.now - waits[0] >= grace_s
            made.device.wake()
            if is_over:
                await until(lambda: not len(made.holds))
                assert (made.back, made.done) == (["r0"], [])
                told = [each.failure.code for each in made.results.values() if each.failure]
                assert told == (["NOT_READY"] if deliveries == 3 else [])
                break
            for _ in range(4):
                await asyncio.sleep(0)
            assert len(made.holds) == 1
        stop.set()
        made.device.wake()


async def test_a_flood_of_bad_texts_leaves_their_turns_to_others():
    """All share one batch at first; the good text does not wait until each bad one has failed."""
    async with world(ROOMY, tenant_quantum=1) as made, asyncio.TaskGroup() as group:
        await made.put([[True] * 30, [False]])
        stop = asyncio.Event()
        group.create_task(made.device.run(stop))
        await until(lambda: not len(made.holds))
        stop.set()
        made.device.wake()
        assert len(made.execution.batches[0].inputs) == 31
        assert made.done == ["r1", "r0"]
        assert not made.results["r1"].item_failures
        assert len(made.results["r0"].item_failures) == 30


async def test_a_batch_gives_up_after_so_many_evictions_however_it_is_split():
    async with world(ROOMY) as made, asyncio.TaskGroup() as group:
        made.evictions = [True, True, False, True, True, False]
        await made.put([[True, False]])
        stop = asyncio.Event()
        group.create_task(made.device.run(stop))
        await until(lambda: not len(made.holds) or bool(made.results))
        stop.set()
        made.device.wake()
        loads = [each for each in made.execution.requests if isinstance(each, ipc.Load)]
        # The first load is `put`'s.
        assert len(loads) == 1 + 3


async def test_no_model_is_loaded_for_a_batch_that_nobody_waits_for_any_more():
    async with world() as made:
        await made.put([[False]])
        made.device.models.forget(MODEL.revision)
        batch = made.device.scheduler.next_batch(0.0)
        assert batch is not None
        made.cancelled.add("r0")
        await made.device._run(batch)
        assert len(made.execution.loads) == 1, "the load of `put`"
        assert made.done == ["r0"]
