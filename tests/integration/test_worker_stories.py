"""A worker on a real broker with a scripted device: from the queue to the confirmed result."""

import time
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY
from tests.support.polling import until, until_told
from tests.support.scripted_execution import LETHAL, POISON
from tests.support.worker_world import (
    GatewayInbox,
    WorkerWorld,
    model_document,
    resolver_of,
    worker_world,
)

from sie_core.apply import preview
from sie_core.resolver import Resolver
from sie_runtime.streams.payload_store import PayloadSettings, PayloadStore
from sie_schemas import arrays, ipc
from sie_schemas.entry import put
from sie_schemas.fleet import Heartbeat
from sie_schemas.items import Item
from sie_schemas.jobs import JOB_ENCODER, JOB_VERSION, AdapterPin, JobResult

pytestmark = pytest.mark.integration

FIRST = resolver_of(1, model_document("org/one"))
BOTH = resolver_of(1, model_document("org/one"), model_document("org/two"))


def numbers(result: JobResult) -> list[float]:
    """The scripted device answers a text with its length."""
    assert result.failure is None, result.failure
    answers = [
        arrays.from_wire(msgspec.msgpack.decode(answer, strict=False)) if answer else None
        for answer in result.answers
    ]
    return [float(answer["dense"]["values"][0]) if answer else -1.0 for answer in answers]


def metric(name: str, **labels: str) -> float:
    """The value of a counter of this process."""
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, name
    return found


async def test_a_job_is_loaded_run_confirmed_and_only_then_acknowledged(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        job = await world.publish(FIRST, "org/one", "a", "bbb")

        result = await world.result_of(job)

        assert numbers(result) == [1.0, 3.0]
        assert result.model_revision == FIRST.resolve("org/one").revision
        assert result.worker_id == "worker-1"
        assert world.execution.loads == [result.model_revision]
        await until_queue_is_empty(world)
        await until(lambda: "org/one" in world.heartbeats[-1].models)
        assert world.heartbeats[-1].memory_total_bytes == 1_000_000
        assert world.heartbeats[-1].models["org/one"].state == "loaded"


async def test_jobs_that_come_while_the_device_is_busy_share_a_batch(tmp_path: Path):
    async with worker_world(tmp_path, batches_ahead_max=1) as world:
        world.advance(FIRST)
        world.execution.hold()
        jobs = [await world.publish(FIRST, "org/one", "a")]
        await until(lambda: world.execution.batches)
        jobs += [await world.publish(FIRST, "org/one", "b" * n) for n in range(2, 8)]
        await until(lambda: world.worker.state()["ready"] and in_hand(world) == 7)
        await until(lambda: metric("sie_worker_items_waiting", device="0") == 6)
        await until(lambda: metric("sie_worker_oldest_wait_seconds", device="0") > 0)
        await until(lambda: world.heartbeats[-1].batches_running == 1)
        told = world.heartbeats[-1]
        assert (told.devices, told.devices_ready) == (1, 1)
        assert told.pending_cost > 0
        fills = metric("sie_worker_batch_fill_ratio_count")
        waits = metric("sie_worker_batch_wait_seconds_sum")
        world.execution.let_go()

        results = [await world.result_of(job) for job in jobs]

        assert [numbers(result) for result in results] == [[float(n)] for n in range(1, 8)]
        assert [len(batch.inputs) for batch in world.execution.batches] == [1, 6]
        assert metric("sie_worker_batch_fill_ratio_count") == fills + 1
        assert metric("sie_worker_batch_wait_seconds_sum") > waits
        assert world.inbox.messages == 2
        await until(lambda: world.heartbeats[-1].answered_per_s > 0)
        assert world.heartbeats[-1].batches_running == 0


async def test_a_poisonous_item_fails_alone_and_its_batch_mates_succeed(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        bad = await world.publish(FIRST, "org/one", "a", POISON, "ccc", "dd", "e")
        good = await world.publish(FIRST, "org/one", "ffff")

        result = await world.result_of(bad)

        assert numbers(result) == [1.0, -1.0, 3.0, 2.0, 1.0]
        assert [(failure.index, failure.code) for failure in result.item_failures] == [
            (1, "INFERENCE_ERROR")
        ]
        assert numbers(await world.result_of(good)) == [4.0]


async def test_a_device_that_dies_in_mid_batch_is_told_at_once_and_the_job_runs_again(
    tmp_path: Path,
):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        world.execution.hold()
        job = await world.publish(FIRST, "org/one", "abc")
        await until(lambda: world.execution.batches)
        await world.execution.die()
        await until(lambda: not world.heartbeats[-1].ready)

        world.execution.let_go()
        await world.execution.start()

        assert numbers(await world.result_of(job)) == [3.0]
        assert len(world.execution.loads) == 2
        await until(lambda: world.heartbeats[-1].ready)
        await until_queue_is_empty(world)


async def test_an_item_that_kills_the_device_each_time_fails_at_last_and_its_batch_mates_do_not(
    tmp_path: Path,
):
    async with worker_world(tmp_path, queue_deliveries_max=4, batches_ahead_max=1) as world:
        world.advance(FIRST)
        world.execution.hold()
        await world.publish(FIRST, "org/one", "a")
        await until(lambda: world.execution.batches)
        bad = await world.publish(FIRST, "org/one", "x", LETHAL)
        good = await world.publish(FIRST, "org/one", "abc")
        await until(lambda: in_hand(world) == 4)
        world.execution.let_go()

        result = await world.result_of(bad)

        assert result.failure is not None
        assert result.failure.code == "INFERENCE_ERROR"
        assert len(world.execution.batches[1].inputs) == 3
        assert numbers(await world.result_of(good)) == [3.0]
        await until_queue_is_empty(world)


async def test_a_gateway_that_is_gone_gets_its_result_when_it_is_back_without_a_second_run(
    tmp_path: Path,
):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        await world.inbox.close()
        job = await world.publish(FIRST, "org/one", "abc")
        await until(lambda: world.execution.batches)
        assert await world.jobs_on_queue() == 1

        await world.inbox.open()

        assert numbers(await world.result_of(job)) == [3.0]
        assert len(world.execution.batches) == 1
        await until_queue_is_empty(world)


async def test_a_result_that_nobody_ever_takes_is_acknowledged_at_its_deadline(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        await world.inbox.close()
        await world.publish(FIRST, "org/one", "abc", deadline=time.time() + 2.0)
        await until(lambda: world.execution.batches)

        await until_queue_is_empty(world)

        assert len(world.execution.batches) == 1
        await world.inbox.open()


async def test_results_for_two_gateways_go_to_each_its_own(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        other = GatewayInbox(world.bus, "sie.result.two")
        await other.open()
        world.advance(FIRST)
        world.execution.hold()
        first = await world.publish(FIRST, "org/one", "a")
        second = await world.publish(FIRST, "org/one", "bb", reply_to=other.subject)
        await until(lambda: in_hand(world) == 2)
        world.execution.let_go()

        assert numbers(await world.result_of(first)) == [1.0]
        await until(lambda: other.results)
        assert [result.job_id for result in other.results] == [second.job_id]
        assert len(world.inbox.results) == 1


async def test_a_job_past_its_deadline_costs_nothing(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        await world.publish(FIRST, "org/one", "late", deadline=time.time() - 1)
        job = await world.publish(FIRST, "org/one", "a")

        await world.result_of(job)

        assert [len(batch.inputs) for batch in world.execution.batches] == [1]
        await until_queue_is_empty(world)
        assert len(world.inbox.results) == 1


async def test_a_large_job_that_is_stored_again_has_the_time_that_its_message_tells(
    tmp_path: Path,
):
    """The one that stands apart may be of the first time that it was stored."""
    async with worker_world(tmp_path, batches_ahead_max=1) as world:
        world.advance(FIRST)
        world.execution.hold()
        # It waits in the worker's hands: behind this one, and for longer than it has left.
        ahead = await world.publish(FIRST, "org/one", "abc")
        await until(lambda: world.execution.batches)
        whole = msgspec.structs.replace(ahead, job_id="large.0", request_id="large")
        store = PayloadStore(world.bus, PayloadSettings())
        ref = await store.put("large.0", JOB_ENCODER.encode(whole), pool="default", ttl_s=20)
        short = {"v": 2, "items": (), "payload": ref, "published_at": whole.deadline - 1.0}
        named = {"job_id": "large.0", "request_id": "large", "deadline": whole.deadline}
        await world.publish(FIRST, "org/one", **short, **named)
        await until(lambda: in_hand(world) == 2)
        await until(lambda: in_hand(world) == 1)
        world.execution.let_go()
        assert numbers(await world.result_of(ahead)) == [3.0]
        await until_queue_is_empty(world)
        assert len(world.execution.batches) == 1


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0], ids=["behind", "ahead"])
async def test_a_gateway_whose_clock_is_hours_off_is_answered_and_its_late_jobs_are_not_run(
    tmp_path: Path, ahead_s: float
):
    async with worker_world(tmp_path, batches_ahead_max=1) as world:
        world.advance(FIRST)
        world.execution.hold()
        now = time.time() + ahead_s
        first = await world.publish(FIRST, "org/one", "abc", published_at=now, deadline=now + 10)
        await until(lambda: world.execution.batches)
        now = time.time() + ahead_s
        await world.publish(FIRST, "org/one", "late", published_at=now, deadline=now + 1.0)
        await until(lambda: in_hand(world) == 2)
        await until(lambda: in_hand(world) == 1)
        world.execution.let_go()

        result = await world.result_of(first)

        assert numbers(result) == [3.0]
        # By which clock it waited is told too: not the hours between two of them.
        assert 0 <= result.timing.queue_ms < 10_000
        await until_queue_is_empty(world)
        assert len(world.execution.batches) == 1


async def test_jobs_that_wait_past_their_deadline_are_dropped_before_they_run(tmp_path: Path):
    async with worker_world(tmp_path, batches_ahead_max=1) as world:
        world.advance(FIRST)
        world.execution.hold()
        await world.publish(FIRST, "org/one", "a")
        await until(lambda: world.execution.batches)
        await world.publish(FIRST, "org/one", "late", deadline=time.time() + 0.2)
        await until(lambda: in_hand(world) == 2)
        await until(lambda: in_hand(world) == 1)
        world.execution.let_go()

        await until_queue_is_empty(world)

        assert len(world.execution.batches) == 1


async def test_a_worker_behind_the_log_catches_up_before_it_runs_the_job(tmp_path: Path):
    second = resolver_of(2, model_document("org/one", cost_max=99))
    async with worker_world(tmp_path, catch_up_s=5.0) as world:
        world.advance(FIRST)
        job = await world.publish(second, "org/one", "abc")
        await until(lambda: in_hand(world) == 1)
        assert not world.execution.batches

        world.advance(second)

        result = await world.result_of(job)
        assert numbers(result) == [3.0]
        assert result.model_revision == second.resolve("org/one").revision


async def test_a_job_of_the_previous_revision_runs_at_that_revision(tmp_path: Path):
    second = resolver_of(2, model_document("org/one", cost_max=99))
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        world.advance(second)
        old = await world.publish(FIRST, "org/one", "a")
        new = await world.publish(second, "org/one", "bb")

        before, after = await world.result_of(old), await world.result_of(new)

        assert before.model_revision == FIRST.resolve("org/one").revision
        assert after.model_revision == second.resolve("org/one").revision
        assert sorted(world.execution.loads) == sorted(
            [before.model_revision, after.model_revision]
        )


async def test_a_job_that_comes_again_runs_at_the_revision_that_it_names(tmp_path: Path):
    second = resolver_of(2, model_document("org/one", cost_max=99))
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        world.execution.hold()
        job = await world.publish(FIRST, "org/one", "abc")
        await until(lambda: world.execution.batches)
        await world.execution.die()
        world.advance(second)
        world.execution.let_go()
        await world.execution.start()

        result = await world.result_of(job)

        assert result.model_revision == FIRST.resolve("org/one").revision
        assert set(world.execution.loads) == {FIRST.resolve("org/one").revision}


async def test_a_revision_that_no_job_can_name_any_more_is_unloaded(tmp_path: Path):
    second = resolver_of(2, model_document("org/one", cost_max=99))
    async with worker_world(tmp_path, previous_revision_s=0.1, hold_extend_s=0.05) as world:
        world.advance(FIRST)
        await world.result_of(await world.publish(FIRST, "org/one", "a"))
        world.advance(second)

        await until(lambda: any(isinstance(r, ipc.Unload) for r in world.execution.requests))
        gone = await world.result_of(await world.publish(FIRST, "org/one", "b"))

        assert gone.failure is not None
        assert gone.failure.code == "REVISION_CHANGED"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"v": JOB_VERSION + 1}, "NOT_READY"),
        ({"model_revision": "f" * 64}, "REVISION_CHANGED"),
        ({"adapter": AdapterPin("nobody", "f" * 64)}, "REVISION_CHANGED"),
        ({"operation": "extract"}, "UNSUPPORTED_OPERATION"),
        ({"operation": "score"}, "INVALID_REQUEST"),
    ],
    ids=[
        "newer job",
        "unknown revision",
        "unknown adapter",
        "operation it lacks",
        "score without a query",
    ],
)
async def test_a_job_that_cannot_run_is_answered_with_the_reason(tmp_path: Path, changed, code):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        job = await world.publish(FIRST, "org/one", "a", **changed)

        result = await world.result_of(job)

        assert result.failure is not None
        assert result.failure.code == code
        await until_queue_is_empty(world)


async def test_a_job_without_items_is_answered_and_leaves_the_queue(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        for loaded in (False, True):
            empty = await world.publish(FIRST, "org/one")

            assert numbers(await world.result_of(empty)) == []

            await until_queue_is_empty(world)
            if not loaded:
                await world.result_of(await world.publish(FIRST, "org/one", "a"))


async def test_tokens_are_counted_where_model_execution_tokenizes(tmp_path: Path):
    def answer(request: ipc.Request) -> ipc.Reply | None:
        if not isinstance(request, ipc.RunBatch):
            return world.execution.usual_answer(request)
        scores = ipc.ScoreAnswers(b"\0" * 4 * len(request.inputs), tokens=(3, 4))
        return ipc.BatchDone(id=request.id, answers=scores, inference_ms=1.0)

    async with worker_world(tmp_path) as world:
        world.execution.accepts = "pair"
        world.execution.answer = answer
        world.advance(FIRST)
        job = await world.publish(
            FIRST, "org/one", "a", "b", operation="score", query=Item(text="q")
        )

        assert (await world.result_of(job)).input_tokens == 7


async def test_an_item_without_text_fails_alone(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        job = await world.publish(FIRST, "org/one", items=(Item(text="abc"), Item(id="empty")))

        result = await world.result_of(job)

        assert numbers(result) == [3.0, -1.0]
        assert result.item_failures[0].code == "INVALID_REQUEST"


async def test_a_failed_load_is_answered_reported_and_not_tried_for_each_job(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        revision = FIRST.resolve("org/one").revision
        world.execution.load_failures[revision] = ipc.Failed(
            id=0, code="MODEL_LOAD_FAILED", message="the weights are not there"
        )
        world.advance(FIRST)
        jobs = [await world.publish(FIRST, "org/one", "a") for _ in range(3)]

        results = [await world.result_of(job) for job in jobs]

        assert {result.failure.code for result in results if result.failure} == {
            "MODEL_LOAD_FAILED"
        }
        assert world.execution.loads == [revision]
        assert world.worker.reports()["org/one"].state == "failed"
        assert world.worker.reports()["org/one"].reason == "the weights are not there"


async def test_a_load_that_failed_is_tried_again_once_it_has_cooled_down(tmp_path: Path):
    async with worker_world(tmp_path, load_cooldown_s=0.3) as world:
        revision = FIRST.resolve("org/one").revision
        world.execution.load_failures[revision] = ipc.Failed(
            id=0, code="MODEL_LOAD_FAILED", message="the weights are not there"
        )
        world.advance(FIRST)
        failed = await world.result_of(await world.publish(FIRST, "org/one", "a"))
        assert failed.failure is not None
        world.execution.load_failures.clear()

        async def is_answered() -> bool:
            result = await world.result_of(await world.publish(FIRST, "org/one", "a"))
            return result.failure is None

        await until_told(is_answered)
        assert world.execution.loads == [revision] * 2
        assert world.worker.reports()["org/one"].state == "loaded"


async def test_a_load_that_found_no_room_is_no_failed_one_and_the_next_job_tries_at_once(
    tmp_path: Path,
):
    async with worker_world(tmp_path, load_cooldown_s=600.0) as world:
        revision = FIRST.resolve("org/one").revision
        world.execution.load_failures[revision] = ipc.Failed(
            id=0, code="RESOURCE_EXHAUSTED", message="no room beside what runs"
        )
        world.advance(FIRST)
        result = await world.result_of(await world.publish(FIRST, "org/one", "a"))
        assert result.failure is not None
        assert result.failure.code == "RESOURCE_EXHAUSTED"
        assert world.worker.reports()["org/one"].state == "available"
        assert world.worker.reports()["org/one"].reason == "no room beside what runs"

        world.execution.load_failures.clear()
        assert numbers(await world.result_of(await world.publish(FIRST, "org/one", "abc"))) == [3.0]


async def test_a_model_that_was_evicted_is_loaded_again_for_its_next_batch(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        await world.result_of(await world.publish(FIRST, "org/one", "a"))
        world.execution.evicted.add(FIRST.resolve("org/one").revision)

        result = await world.result_of(await world.publish(FIRST, "org/one", "bb"))

        assert numbers(result) == [2.0]
        assert len(world.execution.loads) == 2


async def test_what_is_loaded_runs_while_a_model_that_left_is_loaded_for_what_gathered(
    tmp_path: Path,
):
    async with worker_world(tmp_path, ping_interval_s=0.02) as world:
        world.advance(BOTH)
        for model_id in ("org/one", "org/two"):
            await world.result_of(await world.publish(BOTH, model_id, "a"))
        world.execution.resident = (BOTH.resolve("org/one").revision,)
        await until(lambda: world.worker.reports()["org/two"].state == "available")
        world.execution.loads_go.clear()
        world.execution.requests.clear()

        gathered = [await world.publish(BOTH, "org/two", "b" * size) for size in (1, 2, 3)]
        await until(lambda: world.execution.loads)
        await until(lambda: world.worker.state()["items_in_hand"] == len(gathered))
        for _ in range(3):
            await world.result_of(await world.publish(BOTH, "org/one", "c"))
        ran = [batch.model_revision for batch in world.execution.batches]
        assert set(ran) == {BOTH.resolve("org/one").revision}
        world.execution.loads_go.set()

        for size, job in enumerate(gathered, 1):
            assert numbers(await world.result_of(job)) == [float(size)]
        assert world.execution.loads == [BOTH.resolve("org/two").revision]
        assert len(world.execution.batches) == len(ran) + 1, "they shared one batch"


async def test_what_gathered_for_a_model_that_cannot_be_loaded_again_fails_with_its_reason(
    tmp_path: Path,
):
    async with worker_world(tmp_path, ping_interval_s=0.02) as world:
        world.advance(FIRST)
        revision = FIRST.resolve("org/one").revision
        await world.result_of(await world.publish(FIRST, "org/one", "a"))
        world.execution.resident = ()
        await until(lambda: world.worker.reports()["org/one"].state == "available")
        world.execution.load_failures[revision] = ipc.Failed(
            id=0, code="MODEL_LOAD_FAILED", message="the weights are gone"
        )

        result = await world.result_of(await world.publish(FIRST, "org/one", "b"))

        assert result.failure is not None
        assert result.failure.code == "MODEL_LOAD_FAILED"
        await until_queue_is_empty(world)


async def test_a_worker_that_stops_finishes_what_it_has_and_says_goodbye(tmp_path: Path):
    async with worker_world(tmp_path) as world:
        world.advance(FIRST)
        world.execution.hold()
        job = await world.publish(FIRST, "org/one", "abc")
        await until(lambda: world.execution.batches)
        world.stop.set()
        world.execution.let_go()

        assert numbers(await world.result_of(job)) == [3.0]
        await until(lambda: world.heartbeats[-1].leaving)
        await until_queue_is_empty(world)


async def test_a_worker_that_stops_gives_back_what_it_cannot_finish(tmp_path: Path):
    async with worker_world(tmp_path, drain_s=0.1) as world:
        world.advance(FIRST)
        world.execution.hold()
        await world.publish(FIRST, "org/one", "abc")
        await until(lambda: world.execution.batches)
        world.stop.set()

        await until(lambda: world.heartbeats[-1].leaving)

        assert await world.jobs_on_queue() == 1
        assert not world.inbox.results


def in_hand(world: WorkerWorld) -> int:
    return int(world.worker.state()["items_in_hand"])


async def until_queue_is_empty(world: WorkerWorld) -> None:
    deadline = time.monotonic() + 60
    while await world.jobs_on_queue():
        assert time.monotonic() < deadline, "a job is still on the queue"


async def test_two_workers_share_the_models_and_the_survivor_takes_all(tmp_path: Path):
    names = [f"org/m{n}" for n in range(12)]
    resolver = resolver_of(1, *(model_document(name) for name in names))
    async with worker_world(tmp_path) as world:
        world.advance(resolver)
        await until(lambda: len(pulled(world)) == 12)
        peer = Heartbeat(
            worker_id="worker-2",
            pool="default",
            machine_profile="cpu",
            bundle="default",
            ready=True,
            memory_total_bytes=1_000_000,
            log_id="",
            epoch=1,
        )
        await world.bus.publish("sie.health.worker-2", msgspec.msgpack.encode(peer))
        await until(lambda: 0 < len(pulled(world)) < 12)

        gone = msgspec.structs.replace(peer, leaving=True)
        await world.bus.publish("sie.health.worker-2", msgspec.msgpack.encode(gone))

        await until(lambda: len(pulled(world)) == 12)


def pulled(world: WorkerWorld) -> list[str]:
    return list(world.worker.state()["pulls_for"])


async def test_a_model_that_its_pool_pins_is_kept_by_model_execution_until_the_pool_lets_it_go(
    tmp_path: Path,
):
    free = resolver_of(1, model_document("org/one"))
    pinned = resolver_of(2, model_document("org/one"), pinned=("org/one",))
    async with worker_world(tmp_path) as world:
        world.advance(free)
        await world.result_of(await world.publish(free, "org/one", "a"))
        assert pins(world) == [False]

        world.advance(pinned)
        await until(lambda: pins(world) == [False, True])
        await world.result_of(await world.publish(pinned, "org/one", "a"))
        assert pins(world) == [False, True]

        await world.execution.die()
        await world.execution.start()
        await until(lambda: pins(world) == [False, True, True])

        free = resolver_of(3, model_document("org/one"))
        world.advance(free)
        await world.result_of(await world.publish(free, "org/one", "a"))
        assert pins(world) == [False, True, True, False]


def pins(world: WorkerWorld) -> list[bool]:
    return [each.pinned for each in world.execution.requests if isinstance(each, ipc.Load)]


async def test_a_worker_that_no_job_can_come_to_says_why_in_its_heartbeat(tmp_path: Path):
    async with worker_world(tmp_path, pool="defualt") as world:
        await until(lambda: world.heartbeats)
        assert world.heartbeats[-1].trouble == "no verified registry is loaded yet"
        world.advance(FIRST)
        await until(lambda: "no pool 'defualt'; did you mean" in world.heartbeats[-1].trouble)
        pool = put("pool", "defualt", {"machine_profiles": ["cpu"]})
        world.advance(Resolver.of(preview(FIRST.registry, [pool], 2), FIRST.position))
        await until(lambda: world.heartbeats[-1].trouble == "")
