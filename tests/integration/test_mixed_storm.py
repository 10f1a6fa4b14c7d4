"""Texts, images, rankings and extractions of one model at one worker, all at once.

A batch is of one lane: one operation, revision, adapter, set of labels and of options, and of texts
or of images. A bad image or text fails alone, and every answer is its own.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.support.picture_models import encoded, picture
from tests.support.worker_world import LOG_ID, WorkerWorld, model_document, worker_world

from sie_core.chain import Position
from sie_core.registry import Entity, Registry
from sie_core.resolver import Resolver
from sie_schemas import arrays, canonical, ipc
from sie_schemas.documents import admit_document
from sie_schemas.items import Item, Media
from sie_schemas.jobs import AdapterPin, Job, JobResult

pytestmark = pytest.mark.integration

MODEL = "org/both"
COST_MAX = 60
COST = 9
FORM = ipc.PictureForm(size=(8, 8), cost=COST)
REFUSED = -1.0
HOSTILE = (b"no image", b"x", encoded(picture(40, 40))[:300], b"GIF89a" + bytes(30))


class Lane(NamedTuple):
    """The things that a batch is of."""

    operation: str
    revision: str
    adapter: str
    labels: tuple[str, ...]
    threshold: float


def _resolver(epoch: int, cost_max: int) -> Resolver:
    """The model, of another revision for another `cost_max`, with two adapters."""
    document = model_document(MODEL, cost_max=cost_max) | {
        "tasks": {"encode": {}, "score": {}, "extract": {}}
    }
    source = {"type": "package", "package": "x", "distribution": "x", "version": "1"}
    documents: list[tuple[str, str, dict[str, Any]]] = [
        ("bundle", "default", {"name": "default", "backends": ["scripted"]}),
        ("pool", "default", {"name": "default"}),
        ("model", MODEL, document),
        *(
            ("adapter", f"{MODEL}/{name}", {"model_id": MODEL, "name": name, "source": source})
            for name in ("legal", "medical")
        ),
    ]
    registry = Registry.of(
        Entity(kind, key, epoch, canonical.dumps(admit_document(kind, each)))
        for kind, key, each in documents
    )
    return Resolver.of(registry, Position(LOG_ID, epoch, "0" * 64, registry.digest, 1))


OLD, NEW = _resolver(1, COST_MAX), _resolver(2, COST_MAX + 1)
LANES = tuple(
    Lane(operation, resolver.resolve(MODEL).revision, adapter, labels, threshold)
    for resolver in (OLD, NEW)
    for adapter in ("", "legal", "medical")
    for threshold in (0.0, 0.5)
    for operation, labels in (
        ("encode", ()),
        ("score", ()),
        ("extract", ("person",)),
        ("extract", ("person", "place")),
    )
)
"""An input tells by its number, at the end of its text or as the shade of an image, its lane."""


def _items(random: Random, number: int, lane: Lane) -> Iterator[tuple[Item, float]]:
    """Items of one job, and the number that the device answers to each."""
    for place in range(random.randint(1, 7)):
        kinds = (
            "text",
            "text",
            "bad text",
            *(("image", "bad image") * (lane.operation == "encode")),
        )
        kind, name = random.choice(kinds), f"item-{place}"
        if kind == "text":
            text = "t" * random.randint(1, 60)
            yield Item(text=f"{text}|{number}", id=name), float(len(text))
        elif kind == "image":
            data = encoded(picture(1, 1).resize((9, 9)).point(lambda _: number))
            yield Item(images=(Media(data, "png"),), id=name), 1000.0 + number
        elif kind == "bad image":
            yield Item(images=(Media(random.choice(HOSTILE)),), id=name), REFUSED
        else:
            yield Item(images=(), text=None, id=name), REFUSED


class Device:
    """Answers a text with its length and an image with its shade, and notes what shared a batch."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual
        self.seen: Counter[tuple[Lane, bool]] = Counter()
        self.largest = {True: 0, False: 0}
        self.mixed: list[str] = []
        """The batches that held what is of another lane."""

    def __call__(self, request: ipc.Request) -> ipc.Reply | None:
        """The reply."""
        reply: Any = None
        if isinstance(request, ipc.RunBatch):
            numbers = self._run(request)
            answers: ipc.Answers
            if request.operation == "score":
                answers = ipc.ScoreAnswers(struct.pack(f"<{len(numbers)}f", *numbers))
            elif request.operation == "extract":
                answers = ipc.EntityAnswers(tuple(({"length": each},) for each in numbers))
            else:
                answers = ipc.DenseAnswers(1, struct.pack(f"<{len(numbers)}f", *numbers))
            return ipc.BatchDone(id=request.id, answers=answers, inference_ms=1.0)
        reply = self._usual(request)
        if isinstance(reply, ipc.Loaded):
            return msgspec.structs.replace(reply, picture=FORM)
        return reply  # type: ignore[no-any-return]

    def _run(self, batch: ipc.RunBatch) -> list[float]:
        own = Lane(
            batch.operation,
            batch.model_revision,
            batch.adapter.name if batch.adapter is not None else "",
            batch.labels,
            batch.options.get("threshold", 0.0),
        )
        images = isinstance(batch.inputs[0], ipc.PixelsInput)
        numbers: list[float] = []
        for given in batch.inputs:
            if isinstance(given, ipc.PixelsInput):
                lane, answer = given.data[0], 1000.0 + given.data[0]
            else:
                assert isinstance(given, ipc.TextInput | ipc.PairInput)
                text, _, told = given.text.partition("|")
                lane, answer = int(told), float(len(text))
            if LANES[lane] != own or isinstance(given, ipc.PixelsInput) != images:
                self.mixed.append(f"{LANES[lane]} in a batch of {own}")
            numbers.append(answer)
        self.seen[own, images] += 1
        self.largest[images] = max(self.largest[images], len(numbers))
        return numbers


def _number(told: dict[str, Any]) -> float:
    if "score" in told:
        return float(told["score"])
    if "entities" in told:
        return float(told["entities"][0]["length"])
    return float(told["dense"]["values"][0])


def _answers(job: Job, result: JobResult) -> list[float]:
    failed = {failure.index for failure in result.item_failures}
    assert result.failure is None or len(failed) == len(job.items), result.failure
    assert {failure.code for failure in result.item_failures} <= {"INVALID_REQUEST"}
    found = []
    for index, item in enumerate(job.items):
        if index in failed:
            found.append(REFUSED)
            continue
        told = arrays.from_wire(msgspec.msgpack.decode(result.answers[index], strict=False))
        assert told.get("id", told.get("item_id")) == item.id
        found.append(_number(told))
    return found


async def _published(world: WorkerWorld, random: Random, number: int) -> tuple[Job, list[float]]:
    lane = LANES[number]
    resolver = OLD if lane.revision == OLD.resolve(MODEL).revision else NEW
    pairs = list(_items(random, number, lane))
    pin = None
    if lane.adapter:
        pin = AdapterPin(lane.adapter, resolver.adapter(MODEL, lane.adapter).revision)
    job = await world.publish(
        resolver,
        MODEL,
        items=tuple(item for item, _ in pairs),
        operation=lane.operation,
        query=Item(text="q") if lane.operation == "score" else None,
        adapter=pin,
        labels=lane.labels,
        options={"threshold": lane.threshold} if lane.threshold else {},
    )
    return job, [answer for _, answer in pairs]


async def test_a_storm_of_everything_keeps_each_batch_to_one_lane(tmp_path: Path):
    random = Random(16)
    async with worker_world(tmp_path) as world:
        device = Device(world.execution.answer)
        world.execution.answer = device
        world.advance(OLD)
        numbers = [*range(len(LANES))] * 2
        old = [each for each in numbers if LANES[each].revision == OLD.resolve(MODEL).revision]
        new = [each for each in numbers if each not in old]
        random.shuffle(old)
        random.shuffle(new)
        jobs = [await _published(world, random, each) for each in old]
        # Jobs of the older revision are in flight, and run as they were asked for.
        world.advance(NEW)
        jobs += [await _published(world, random, each) for each in new]
        for job, wanted in jobs:
            assert _answers(job, await world.result_of(job)) == wanted
        runs = sum(len(batch.inputs) for batch in world.execution.batches)
        assert runs == sum(each != REFUSED for _, wanted in jobs for each in wanted)
    assert device.mixed == []
    lanes = {lane for lane, _ in device.seen}
    assert lanes == set(LANES)
    assert {lane.operation for lane, images in device.seen if images} == {"encode"}
    assert 1 < device.largest[True] <= COST_MAX // COST
    assert device.largest[False] > 1
