"""Laws of a batch on its way through the device: all of it is told, and counted once."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from sie_schemas.ipc import (
    Answers,
    BatchDone,
    ClassAnswers,
    DenseAnswers,
    EntityAnswers,
    ScoreAnswers,
    TextInput,
)
from sie_schemas.items import Item
from sie_schemas.jobs import AdapterPin, Job
from sie_worker.device.batch_counts import count_begun, lane_series_of
from sie_worker.device.batch_runs import BatchRun, Work
from sie_worker.jobs.holds import Hold
from sie_worker.scheduling.lanes import Batch, Lane, QueuedInput

ADAPTERS = st.none() | st.builds(AdapterPin, st.sampled_from(["ax", "bx"]), st.just("1"))
LANES = st.builds(
    Lane,
    model_revision=st.sampled_from(["r1", "r2"]),
    profile=st.sampled_from(["default", "fast"]),
    operation=st.sampled_from(["encode", "score", "extract"]),
    adapter=ADAPTERS,
    outputs=st.sampled_from([(), ("dense",), ("sparse", "dense")]),
    labels=st.sampled_from([(), ("city", "name"), ("name", "city")]),
    options=st.sampled_from([b"", b'{"threshold":0.25}', b'{"flat_ner":false,"a":"b"}']),
)
KINDS = st.sampled_from(["dense", "scores", "entities", "classes"])


def hold_of(number: int, lane: Lane, items: int, adapter: AdapterPin | None, model: str) -> Hold:
    job = Job(
        job_id=f"j{number}",
        request_id="r",
        reply_to="sie.result.g",
        first_item=0,
        published_at=0.0,
        deadline=9.0,
        log_id="1" * 32,
        epoch=1,
        model_id="org/a",
        profile=lane.profile,
        model_revision=lane.model_revision,
        operation=lane.operation,
        adapter=adapter,
        items=tuple(Item(text=f"{number}.{index}") for index in range(items)),
    )
    delivery = cast(Any, SimpleNamespace(delivery_count=1))
    hold = Hold(number, job, delivery, now=1.0, age_s=0.5)
    hold.model = cast(Any, SimpleNamespace(resolved=SimpleNamespace(name=model)))
    if adapter is not None:
        hold.adapter = cast(Any, SimpleNamespace(name=adapter.name))
    return hold


def answers_of(kind: str, count: int, tokens: tuple[int, ...]) -> Answers:
    numbers = np.arange(count, dtype="<f4").tobytes()
    nothing: tuple[Any, ...] = ((),) * count
    match kind:
        case "dense":
            return DenseAnswers(dim=1, values=numbers)
        case "scores":
            return ScoreAnswers(values=numbers, tokens=tokens)
        case "entities":
            return EntityAnswers(entities=nothing, tokens=tokens)
        case _:
            return ClassAnswers(classes=nothing, tokens=tokens)


class Device:
    """Model execution in memory, and the batches that it was given."""

    def __init__(self, kind: str, tokens: Sequence[int]) -> None:
        self.told: list[dict[str, Any]] = []
        self.adapters: list[AdapterPin] = []
        self._kind = kind
        self._tokens = tokens

    async def run_batch(self, **told: Any) -> BatchDone:
        self.told.append(told)
        count = len(told["inputs"])
        answers = answers_of(self._kind, count, tuple(self._tokens[:count]))
        return BatchDone(id=1, answers=answers, inference_ms=1.0)

    async def ensure_model(self, resolved: Any) -> Any:
        return SimpleNamespace(resolved=resolved)

    async def ensure_adapter(self, _model: Any, pin: AdapterPin, _adapter: Any) -> None:
        self.adapters.append(pin)


@given(
    lane=LANES,
    jobs=st.lists(st.tuples(st.integers(1, 3), ADAPTERS), min_size=1, max_size=4),
    kind=KINDS,
    tokens=st.just([]) | st.lists(st.integers(1, 99), min_size=12, max_size=12),
)
def test_a_batch_is_told_whole_and_what_it_read_is_counted_for_its_own_job(
    lane, jobs, kind, tokens
):
    holds = [
        hold_of(number, lane, items, lane.adapter or adapter, "org/a")
        for number, (items, adapter) in enumerate(jobs)
    ]
    work: list[Work] = [
        (QueuedInput(hold.number, "r", index, 1, 9.0, TextInput(str(item.text))), hold)
        for hold in holds
        for index, item in enumerate(hold.job.items)
    ]
    batch = Batch(lane, tuple(each for each, _ in work), 7, 0.0, 0.5)
    device = Device(kind, tokens)
    any_device = cast(Any, device)
    run = BatchRun(
        batch,
        any_device,
        any_device,
        ensure_model=device.ensure_model,
        drop_unwanted=lambda _: {},
        clock=lambda: 5.0,
    )
    outcomes = asyncio.run(run.run(work))
    pins = tuple(hold.job.adapter for _, hold in work)
    assert device.told == [
        {
            "model_revision": lane.model_revision,
            "operation": lane.operation,
            "adapter": lane.adapter,
            # Each names its own where they are not all the lane's.
            "adapters": () if lane.adapter or not any(pins) else pins,
            "inputs": tuple(each.payload for each, _ in work),
            "outputs": lane.outputs,
            "labels": lane.labels,
            "options": msgspec.json.decode(lane.options or b"{}"),
            "trace": "",
        }
    ]
    assert device.adapters == [hold.job.adapter for hold in holds if hold.job.adapter]
    assert all(isinstance(each, bytes) for each in outcomes)
    assert len(outcomes) == len(work)
    counted = kind != "dense" and tokens
    for hold in holds:
        own = [tokens[place] for place, (_, each) in enumerate(work) if each is hold and counted]
        assert hold.input_tokens == sum(own)
        # Half a second on the queue, four in the window.
        assert hold.queue_ms == 4500.0


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for metric in REGISTRY.collect()
        if metric.name.startswith("sie_worker_")
        for each in metric.samples
        if not each.name.endswith("_created")
    }


@given(
    lane=LANES,
    items=st.integers(1, 9),
    cost=st.integers(1, 9000),
    fill=st.sampled_from([0.03, 0.2, 0.75, 1.0]),
    arrived=st.sampled_from([0.0, 1.5, 4.0, 4.996]),
    model=st.sampled_from(["org/a", "org/a:fast", None]),
)
def test_a_batch_that_begins_is_counted_once_under_its_lane(
    lane, items, cost, fill, arrived, model
):
    hold = hold_of(1, lane, items, None, model)
    if model is None:
        hold.model = None
    inputs = tuple(QueuedInput(1, "r", i, cost, 9.0, TextInput("a")) for i in range(items))
    name = (
        ("adapter", lane.adapter.name if lane.adapter else ""),
        ("model", model or ""),
        ("operation", lane.operation),
    )
    lane_series_of(lane, hold)
    before = samples()
    count_begun(Batch(lane, inputs, cost, arrived, fill), hold, 5.0)
    waited_s = 5.0 - arrived
    wanted: dict[Any, float] = {
        ("sie_worker_batches_total", ()): 1,
        ("sie_worker_lane_inputs_total", name): items,
    }
    for metric, labels, value in (
        ("batch_items", (), items),
        ("batch_cost", (), cost),
        ("batch_fill_ratio", (), fill),
        ("batch_wait_seconds", (), waited_s),
        ("lane_fill_ratio", name, fill),
        ("lane_wait_seconds", name, waited_s),
    ):
        wanted[f"sie_worker_{metric}_count", labels] = 1
        wanted[f"sie_worker_{metric}_sum", labels] = value
    now = samples()
    grown = {
        key: round(now[key] - before[key], 6)
        for key in now
        if now[key] != before[key] and not key[0].endswith("_bucket")
    }
    assert grown == {key: round(value, 6) for key, value in wanted.items() if value}
