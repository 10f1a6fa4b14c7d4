"""Laws of taking jobs in: each has one end, and its inputs share a lane with their like alone."""

import asyncio
import base64
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.support.polling import until
from tests.support.worker_world import results_of

from sie_core.backend_options import GENERAL
from sie_core.chain import Position
from sie_core.resolver import ResolvedAdapter
from sie_core.stored_documents import AdapterJson
from sie_runtime.broker.bus import Bus
from sie_runtime.streams.deliveries import Delivery
from sie_runtime.streams.payload_store import PayloadGone
from sie_schemas.errors import Later, OurFault
from sie_schemas.ipc import Loaded, PictureForm, PixelsInput, TokensInput
from sie_schemas.items import Item, Media
from sie_schemas.jobs import (
    JOB_ENCODER,
    RESULT_DECODER,
    AdapterPin,
    Job,
    JobResult,
    PayloadRef,
    ResultReceipt,
)
from sie_worker.execution.executor import ExecutorLost
from sie_worker.execution.models import LoadedModel
from sie_worker.intake.cancelled import CancelledRequests
from sie_worker.intake.intake import Intake, IntakeLimits
from sie_worker.jobs.holds import Hold, Holds
from sie_worker.scheduling.lanes import Lane, Limits, QueuedInput

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
INLINE_MAX = 2000
ALONE_AFTER = 2
LOG_ID = "1" * 32
OPERATIONS = {"r1": {"encode", "score", "extract"}, "r2": {"encode"}}
"""Of the revisions, which are those of the profiles `p1` and `p2`."""
ONE, TWO, GONE = AdapterPin("one", "a"), AdapterPin("two", "a"), AdapterPin("one", "b")
SPENT = {"task", *(option.name for option in GENERAL)}
"""Options of which a batch is told nothing."""


def int32(*numbers: int) -> bytes:
    return np.array(numbers, "<i4").tobytes()


class Reads:
    """A tokenizer whose tokens are lengths; it knows how much it read on the loop's thread."""

    tokens_max = 0

    def __init__(self) -> None:
        self.queries = self
        self.on_loop: list[int] = []
        self._loop = threading.get_ident()

    def texts(self, texts: Sequence[str], *_: Any) -> list[TokensInput]:
        """Of single texts."""
        if threading.get_ident() == self._loop:
            self.on_loop.append(sum(map(len, texts)))
        return [TokensInput(int32(len(text))) for text in texts]

    def pairs(self, query: str, texts: Sequence[str], *_: Any) -> list[TokensInput]:
        """Of a query with each text."""
        self.texts([query + text for text in texts])
        return [TokensInput(int32(len(query), len(text))) for text in texts]


class World:
    """A queue, a gateway, a log and devices in memory, and what each was told."""

    def __init__(self, plan: SimpleNamespace) -> None:
        self.plan = plan
        self.server_id = "s"
        self.stream_replicas = 1
        self.now = 5.0
        self.position = Position(LOG_ID, 1, "0" * 64, "0" * 64, 1)
        self.not_ready = ""
        self.reads = Reads()
        self.said: dict[str, list[str]] = {}
        """The words that the queue heard of each job."""
        self.results: dict[str, JobResult] = {}
        self.added: list[tuple[Lane, LoadedModel, QueuedInput]] = []
        self.beside: list[AdapterPin] = []
        """Adapters that were made ready."""
        self.models = {revision: self._model(revision) for revision in OPERATIONS}
        self._described = set(plan.described)
        self.stored: dict[str, bytes] = {}
        self.holds = Holds(on_room=lambda: None, age_s=lambda _: 1.0)

    def _model(self, revision: str) -> LoadedModel:
        resolved = SimpleNamespace(
            model_id="org/a",
            profile=f"p{revision[1:]}",
            revision=revision,
            operations=OPERATIONS[revision],
        )
        loaded = Loaded(
            id=0,
            revision=revision,
            accepts="tokens",
            fuses_adapters=self.plan.fuses,
            picture=PictureForm(cost=3),
        )
        limits = Limits(cost_max=64, items_max=64, wait_s=0.0)
        return LoadedModel(cast(Any, resolved), loaded, cast(Any, self.reads), limits, pinned=False)

    # ---- a queue, a gateway, the log -------------------------------------------------------------

    def send_to_all(self, replies: Sequence[bytes], word: bytes) -> None:
        for reply in replies:
            name = reply.split(b".")[3].decode()
            self.said.setdefault(name, []).append(word.split(b" ")[0].decode())

    async def request(self, _subject: str, data: bytes, *, timeout_s: float) -> bytes:
        found = RESULT_DECODER.decode(data).results
        self.results |= {result.job_id: result for result in found}
        receipt = ResultReceipt(job_ids=tuple(result.job_id for result in found))
        return msgspec.msgpack.encode(receipt)

    async def write(self, hold: Hold, result: JobResult) -> None:
        raise AssertionError("nothing here was the last try")

    async def wait_for_epoch(self, log_id: str, epoch: int, *, timeout_s: float) -> bool:
        await asyncio.sleep(0)
        return bool(self.plan.reaches)

    async def get(self, ref: PayloadRef) -> bytes:
        await asyncio.sleep(0)
        if ref.object_id not in self.stored:
            raise PayloadGone("it is not there")
        return self.stored[ref.object_id]

    def model(self, model_id: str, profile: str, revision: str) -> Any:
        found = self.models.get(revision)
        wanted = ("org/a", f"p{revision[1:]}")
        return found.resolved if found and (model_id, profile) == wanted else None

    def adapter(self, _model_id: str, pin: AdapterPin) -> ResolvedAdapter | None:
        return (
            None if pin == GONE else ResolvedAdapter(pin.name, pin.revision, cast(AdapterJson, {}))
        )

    # ---- devices ---------------------------------------------------------------------------------

    def described(self, revision: str) -> LoadedModel | None:
        return self.models[revision] if revision in self._described else None

    def at_hand(self, revision: str) -> LoadedModel | None:
        return self.described(revision) if self.plan.at_hand else None

    async def wait_connected(self) -> None:
        await asyncio.sleep(0)

    async def ensure(self, resolved: Any) -> LoadedModel:
        await asyncio.sleep(0)
        if self.plan.load is not None:
            raise self.plan.load
        self._described.add(resolved.revision)
        return self.models[resolved.revision]

    async def ensure_adapter(
        self, _model: LoadedModel, pin: AdapterPin, _adapter: ResolvedAdapter
    ) -> None:
        await asyncio.sleep(0)
        if self.plan.adapter_load is not None:
            raise self.plan.adapter_load
        self.beside.append(pin)

    def add(
        self, lane: Lane, model: LoadedModel, inputs: Sequence[QueuedInput], *, now: float
    ) -> None:
        assert now == self.now
        self.added += [(lane, model, each) for each in inputs]

    # ---- the law's own reading -------------------------------------------------------------------

    def end_of(self, job: Job) -> str:
        """The code of a job's failure; `dropped`, `back`, or `runs`."""
        plan = self.plan
        if job.request_id == "left" or job.deadline < 10:
            return "dropped"
        behind = job.epoch > self.position.epoch and not plan.reaches
        if self.model(job.model_id, job.profile, job.model_revision) is None:
            return "back" if behind else "REVISION_CHANGED"
        if job.operation not in OPERATIONS[job.model_revision]:
            return "UNSUPPORTED_OPERATION"
        if job.model_revision not in plan.described and plan.load is not None:
            return "back" if isinstance(plan.load, ExecutorLost) else str(plan.load.code)
        if job.adapter == GONE:
            return "back" if behind else "REVISION_CHANGED"
        error = plan.adapter_load
        is_there = plan.at_hand and (job.model_revision in plan.described or plan.load is None)
        if job.adapter is not None and is_there and error and error.code != "MODEL_LOADING":
            return str(error.code)
        return "INVALID_REQUEST" if job.operation == "score" and job.query is None else "runs"


TEXTS = st.sampled_from(["a", "bc", "d" * 3000])
ITEM = st.builds(lambda text: Item(text=text), TEXTS) | st.sampled_from(
    [Item(), Item(images=(Media(PICTURE),)), Item(images=(Media(b"no image"),))]
)
OPTIONS = st.permutations(
    [("threshold", 0.5), ("flat_ner", False), ("is_query", True), ("truncate", "end")]
)
MISHAPS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"request_id": "left"},
    {"deadline": 2.5},
    {"epoch": 2},
    {"profile": "p2"},
    {"profile": "p2", "epoch": 2},
    {"model_revision": "r2"},
    {"profile": "p2", "model_revision": "r2"},
    {"adapter": GONE},
    {"adapter": GONE, "epoch": 2},
    {"operation": "score", "query": None},
    {"items": (Item(), Item(images=(Media(b"no image"),)))},
)
JOB = st.builds(
    Job,
    job_id=st.just(""),
    request_id=st.sampled_from("abc"),
    reply_to=st.just("sie.result.gw"),
    first_item=st.just(0),
    # Of the gateway's clock; it was stored a second ago.
    published_at=st.just(2.0),
    deadline=st.sampled_from([50.0, 90.0]),
    log_id=st.just(LOG_ID),
    epoch=st.just(1),
    model_id=st.just("org/a"),
    profile=st.just("p1"),
    model_revision=st.just("r1"),
    operation=st.sampled_from(["encode", "score", "extract"]),
    adapter=st.sampled_from([None, ONE, TWO]),
    items=st.lists(ITEM, min_size=1, max_size=3).map(tuple),
    query=st.sampled_from([None, Item(text="who")]),
    output_types=st.sampled_from([(), ("dense",), ("dense", "sparse"), ("sparse", "dense")]),
    labels=st.sampled_from([(), ("city",), ("city", "name"), ("name", "city")]),
    options=st.tuples(OPTIONS, st.integers(0, 4)).map(lambda drawn: dict(drawn[0][: drawn[1]])),
    tenant=st.sampled_from(["", "t"]),
)
TROUBLES = (
    {"load": ExecutorLost("away"), "described": ()},
    {"load": OurFault("bad", code="MODEL_LOAD_FAILED"), "described": ()},
    {"adapter_load": Later("left", code="MODEL_LOADING"), "at_hand": True},
    {"adapter_load": OurFault("bad", code="ADAPTER_LOAD_FAILED"), "at_hand": True},
)
QUIET: dict[str, Any] = {
    "fuses": True,
    "described": ("r1", "r2"),
    "at_hand": True,
    "reaches": True,
    "load": None,
    "adapter_load": None,
}
PLAN = st.builds(
    lambda trouble, **told: SimpleNamespace(**(told | trouble)),
    trouble=st.sampled_from([{}] * 4 + [*TROUBLES] + [{}] * 4),
    fuses=st.booleans(),
    described=st.sampled_from([("r1", "r2"), ("r1",), ()]),
    at_hand=st.booleans(),
    reaches=st.booleans(),
    load=st.none(),
    adapter_load=st.none(),
)


def intake_of(world: World, cancelled: CancelledRequests, group: asyncio.TaskGroup) -> Intake:
    results = results_of(cast(Any, world), world.holds, dead_letters=world, clock=lambda: world.now)
    return Intake(
        replica=world,
        known=cast(Any, world),
        devices=cast(Any, world),
        holds=world.holds,
        results=results,
        objects=world,
        cancelled=cancelled,
        limits=IntakeLimits(
            catch_up_s=1.0,
            retry_delay_s=0.0,
            alone_after_deliveries=ALONE_AFTER,
            inline_characters_max=INLINE_MAX,
        ),
        clock=lambda: world.now,
        group=group,
        taken=lambda *_: None,
    )


def delivered(world: World, job: Job, count: int, *, is_stored: bool) -> Delivery:
    """A job's delivery, for the so-manieth time; its items may stand apart in the object store."""
    sent = job
    if is_stored:
        # The message may be a later one than what stands apart.
        older = replace(job, published_at=0.0, deadline=1.0)
        world.stored[job.job_id] = JOB_ENCODER.encode(older)
        ref = PayloadRef(object_id=job.job_id, size=1, sha256="")
        sent = replace(job, v=2, items=(), payload=ref)
    reply = f"$JS.ACK.S.{job.job_id}.{count}.1.1.0.0".encode()
    return Delivery(cast(Bus, world), JOB_ENCODER.encode(sent), reply, 9)


async def taken_in(world: World, jobs: Sequence[Job], told: Sequence[tuple[int, bool]]) -> None:
    """Each job is delivered, for the so-manieth time; some stand apart in the object store."""
    cancelled = CancelledRequests(ids_max=10)
    cancelled.add("left")
    async with asyncio.TaskGroup() as group:
        intake = intake_of(world, cancelled, group)
        for job, (count, is_stored) in zip(jobs, told, strict=True):
            intake.take(delivered(world, job, count, is_stored=is_stored))
    intake.close()


@pytest.mark.parametrize("mishap", MISHAPS)
@settings(max_examples=20)
@given(
    plan=PLAN,
    jobs=st.lists(JOB, min_size=1, max_size=4),
    told=st.lists(
        st.tuples(st.integers(1, ALONE_AFTER + 2), st.booleans()), min_size=4, max_size=4
    ),
)
def test_each_job_has_one_end_and_its_inputs_share_a_lane_with_their_like_alone(
    mishap, plan, jobs, told
):
    jobs[0] = replace(jobs[0], **mishap)
    jobs = [replace(job, job_id=f"j{place}") for place, job in enumerate(jobs)]
    world = World(plan)
    asyncio.run(taken_in(world, jobs, told[: len(jobs)]))
    assert all(count <= INLINE_MAX for count in world.reads.on_loop), "the loop stood still"
    holds = {
        hold.job.job_id: hold
        for _, _, each in world.added
        if (hold := world.holds.get(each.hold)) is not None
    }
    for job, (count, _) in zip(jobs, told, strict=False):
        name, end = job.job_id, world.end_of(job)
        result, said = world.results.get(name), world.said.get(name, [])
        hold = holds.get(name)
        added = [each for each in world.added if hold is not None and each[2].hold == hold.number]
        if end in {"dropped", "back"}:
            assert (result, added, said) == (None, [], ["+ACK" if end == "dropped" else "-NAK"])
        elif end != "runs":
            assert result is not None
            assert result.failure is not None
            assert (result.failure.code, added, said) == (end, [], ["+ACK"])
        else:
            assert_runs(world, job, count, hold, result, added)
            assert said == ([] if added else ["+ACK"])


def assert_runs(
    world: World,
    job: Job,
    deliveries: int,
    hold: Hold | None,
    result: JobResult | None,
    added: Sequence[tuple[Lane, LoadedModel, QueuedInput]],
) -> None:
    """Each item that can be one is an input, and the others are failures."""
    wanted = {
        index: item
        for index, item in enumerate(job.items)
        if item.text is not None or any(image.data == PICTURE for image in item.images)
    }
    assert sorted(each.index for _, _, each in added) == list(wanted)
    if not wanted:
        assert result is not None
        assert [each.index for each in result.item_failures] == [*range(len(job.items))]
        return
    assert result is None
    assert hold is not None
    assert hold.open_items == len(wanted), "the others have failed"
    assert hold.model is world.models[job.model_revision]
    assert (hold.adapter and hold.adapter.name) == (job.adapter and job.adapter.name)
    for lane, model, each in added:
        item, payload = wanted[each.index], each.payload
        assert model is hold.model
        assert isinstance(payload, PixelsInput) is bool(item.images)
        if isinstance(payload, TokensInput):
            assert item.text is not None
            query = (3,) if job.operation == "score" else ()
            assert payload.ids == int32(*query, len(item.text))
        # By our own clock, from the newest message, less the second that it waited.
        assert each.deadline == world.now + job.deadline - job.published_at - 1.0
        assert (each.request_id, each.tenant) == (job.request_id, job.tenant)
        told = {name: value for name, value in job.options.items() if name not in SPENT}
        assert lane == Lane(
            job.model_revision,
            job.profile,
            job.operation,
            None if world.plan.fuses else job.adapter,
            job.output_types,
            job.labels,
            # In one order, else what is the same would run apart.
            msgspec.json.encode(told, order="sorted") if told else b"",
            # It may be what took its batch down.
            job.job_id if deliveries > ALONE_AFTER else "",
            bool(item.images),
        )


async def ended_on_its_way(world: World, job: Job, end: str, *, is_there: bool, last: bool) -> None:
    """A large job is in hand and ends, when its second copy was asked for and is not there yet."""
    cancelled = CancelledRequests(ids_max=10)
    async with asyncio.TaskGroup() as group:
        intake = intake_of(world, cancelled, group)
        intake.take(delivered(world, job, 1, is_stored=True))
        await until(lambda: world.holds.has(job.job_id))
        again = delivered(world, job, 9 if last else 2, is_stored=True)
        [hold] = world.holds
        intake.take(again)
        if end == "left":
            cancelled.add(job.request_id)
        world.holds.close([hold], settled=end == "answered")
        if not is_there:
            del world.stored[job.job_id]
    intake.close()


@settings(max_examples=20)
@given(
    job=JOB,
    end=st.sampled_from(["answered", "left"]),
    is_there=st.booleans(),
    last=st.booleans(),
)
def test_a_large_job_that_ends_while_it_is_fetched_again_is_not_run_again(job, end, is_there, last):
    world = World(SimpleNamespace(**QUIET))
    job = replace(job, job_id="j", items=(Item(text="a"),), query=Item(text="who"))
    asyncio.run(ended_on_its_way(world, job, end, is_there=is_there, last=last))
    assert not len(world.holds)
    assert world.said["j"] == ["+ACK"]
    assert not world.results
