"""From the device's arrays to the public answers."""

from struct import pack
from typing import Any

import msgspec
import numpy as np
import pytest

from sie_schemas import arrays
from sie_schemas.errors import SIEError
from sie_schemas.ipc import (
    ClassAnswers,
    DenseAnswers,
    EntityAnswers,
    ScoreAnswers,
)
from sie_schemas.items import Item
from sie_worker.forms.answers import public_answers

ITEMS = [Item(text="a", id="first"), Item(text="b")]


def decoded(outcome: bytes | SIEError) -> Any:
    assert isinstance(outcome, bytes)
    return arrays.from_wire(msgspec.msgpack.decode(outcome))


@pytest.mark.parametrize(
    ("dtype", "typed", "expected"),
    [
        ("int8", "|i1", [[127, -64, 0, 0, 0, 0, 0, 0, 32], [0] * 9]),
        ("uint8", "|u1", [[255, 0, 85, 85, 85, 85, 85, 85, 128], [0] * 9]),
        ("binary", "|u1", [[0b10000000, 0b10000000], [0, 0]]),
        ("ubinary", "|u1", [[0b10000000, 0b10000000], [0, 0]]),
    ],
)
def test_a_vector_is_quantized_by_itself_and_tells_how_wide_it_was(dtype, typed, expected):
    vectors = np.array([[4, -2, 0, 0, 0, 0, 0, 0, 1], [0] * 9], dtype="<f4")

    answers = DenseAnswers(9, vectors.tobytes())
    found = [decoded(each) for each in public_answers(answers, ITEMS, [dtype] * 2)]

    assert [each["dense"]["values"].tolist() for each in found] == expected
    assert {each["dense"]["values"].dtype.str for each in found} == {typed}
    assert {(each["dense"]["dims"], each["dense"]["dtype"]) for each in found} == {(9, dtype)}


def test_a_dtype_that_is_not_offered_fails_its_item_alone():
    answers = DenseAnswers(1, pack("<2f", 1, 2))

    good, bad = public_answers(answers, ITEMS, ["float32", "int4"])

    assert isinstance(good, bytes)
    assert isinstance(bad, SIEError)
    assert bad.code == "UNSUPPORTED_OPERATION"


def test_each_score_names_its_item_and_one_that_is_no_number_fails_alone():
    good, bad = public_answers(ScoreAnswers(pack("<2f", 0.5, float("nan"))), ITEMS, ["float32"] * 2)

    assert decoded(good) == {"item_id": "first", "score": 0.5}
    assert isinstance(bad, SIEError)
    assert bad.code == "INFERENCE_ERROR"


def test_entities_come_in_the_public_shape():
    entity = {"text": "Ada", "label": "PERSON", "score": 1.0, "start": 0, "end": 3}

    first, second = map(
        decoded, public_answers(EntityAnswers(((entity,), ())), ITEMS, ["float32"] * 2)
    )

    assert first == {
        "id": "first",
        "entities": [entity],
        "relations": [],
        "classifications": [],
        "objects": [],
        "data": {},
    }
    assert second["entities"] == []


def test_classes_come_in_the_public_shape():
    told = {"label": "sports", "score": 0.75}

    first, second = map(
        decoded, public_answers(ClassAnswers(((told,), ()), (5, 3)), ITEMS, ["float32"] * 2)
    )

    assert first["classifications"] == [told]
    assert first["entities"] == []
    assert second["classifications"] == []


def test_entities_of_fewer_items_than_the_batch_has_are_an_inference_error():
    with pytest.raises(SIEError) as caught:
        public_answers(EntityAnswers(((),)), ITEMS, ["float32"] * 2)

    assert caught.value.code == "INFERENCE_ERROR"
