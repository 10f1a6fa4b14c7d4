"""Texts and images of one model at one worker: batches of one kind, and a bad image alone fails."""

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.support.picture_models import encoded, picture
from tests.support.worker_world import catalog_of, model_document, worker_world

from sie_schemas import arrays, ipc
from sie_schemas.items import Item, Media
from sie_schemas.jobs import Job, JobResult

pytestmark = pytest.mark.integration

COST_MAX = 60
COST = 9
CATALOG = catalog_of(1, model_document("org/both", cost_max=COST_MAX))
FORM = ipc.PictureForm(size=(8, 8), cost=COST)
REFUSED = -1.0
HOSTILE = (b"no image", b"", encoded(picture(40, 40))[:300], b"GIF89a" + bytes(30))


def _pairs(random: Random, count: int) -> Iterator[tuple[Item, float]]:
    """Items, and the number that the device answers to each."""
    for number in range(count):
        kind = random.choice(("text", "text", "image", "image", "hostile"))
        name = f"item-{number}"
        if kind == "text":
            text = "t" * random.randint(1, 60)
            yield Item(text=text, id=name), float(len(text))
        elif kind == "image":
            shade = random.randint(0, 255)
            data = encoded(picture(1, 1).resize((9, 9)).point(lambda _, shade=shade: shade))
            yield Item(images=(Media(data, "png"),), id=name), 1000.0 + shade
        else:
            yield Item(images=(Media(random.choice(HOSTILE) or b"x"),), id=name), REFUSED


def _device(request: ipc.Request, usual: Any) -> ipc.Reply | None:
    """A text is answered with its length, an image with its first byte, from 1000 on."""
    match request:
        case ipc.Load():
            loaded: ipc.Loaded = usual(request)
            return msgspec.structs.replace(loaded, picture=FORM)
        case ipc.RunBatch():
            numbers = [_number(given) for given in request.inputs]
            answers = ipc.DenseAnswers(1, struct.pack(f"<{len(numbers)}f", *numbers))
            return ipc.BatchDone(id=request.id, answers=answers, inference_ms=1.0)
        case _:
            reply: ipc.Reply | None = usual(request)
            return reply


def _number(given: ipc.Input) -> float:
    if isinstance(given, ipc.TextInput):
        return float(len(given.text))
    assert isinstance(given, ipc.PixelsInput) and len(given.data) == 8 * 8 * 3
    return 1000.0 + given.data[0]


def _answers(job: Job, result: JobResult) -> list[float]:
    assert result.failure is None or len(result.item_failures) == len(job.items), result.failure
    failed = {failure.index for failure in result.item_failures}
    for failure in result.item_failures:
        assert failure.code == "INVALID_REQUEST" and "image" in failure.message
    found = []
    for index, answer in enumerate(result.answers):
        if index in failed:
            found.append(REFUSED)
        else:
            told = arrays.from_wire(msgspec.msgpack.decode(answer, strict=False))
            assert told["id"] == job.items[index].id
            found.append(float(told["dense"]["values"][0]))
    return found


async def test_a_storm_of_texts_and_images_keeps_the_rules_of_batches(tmp_path: Path):
    random = Random(16)
    async with worker_world(tmp_path) as world:
        usual = world.execution.answer
        world.execution.answer = lambda request: _device(request, usual)
        world.advance(CATALOG)
        jobs: list[tuple[Job, list[float]]] = []
        for _ in range(40):
            pairs = list(_pairs(random, random.randint(1, 7)))
            items = tuple(item for item, _ in pairs)
            job = await world.publish(CATALOG, "org/both", items=items)
            jobs.append((job, [number for _, number in pairs]))
        for job, numbers in jobs:
            assert _answers(job, await world.result_of(job, within_s=60)) == numbers
        batches = world.execution.batches
        assert sum(len(batch.inputs) for batch in batches) == sum(
            number != REFUSED for _, numbers in jobs for number in numbers
        )
        kinds = {frozenset(type(given) for given in batch.inputs) for batch in batches}
        assert kinds == {frozenset({ipc.TextInput}), frozenset({ipc.PixelsInput})}
        images = [len(batch.inputs) for batch in batches if _is_of_images(batch)]
        assert 1 < max(images) <= COST_MAX // COST
        assert max(len(batch.inputs) for batch in batches if not _is_of_images(batch)) > 1


def _is_of_images(batch: ipc.RunBatch) -> bool:
    return isinstance(batch.inputs[0], ipc.PixelsInput)
