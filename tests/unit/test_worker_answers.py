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
    EncodeAnswers,
    EntityAnswers,
    MultivectorAnswers,
    ScoreAnswers,
    SparseAnswers,
)
from sie_schemas.items import Item
from sie_worker.forms.answers import public_answers

ITEMS = [Item(text="a", id="first"), Item(text="b")]


def decoded(outcome: bytes | SIEError) -> Any:
    assert isinstance(outcome, bytes)
    return arrays.from_wire(msgspec.msgpack.decode(outcome))


def test_a_vector_keeps_its_bytes_and_the_id_of_its_item():
    vectors = np.array([[1.5, -2.0], [3.0, 4.0]], dtype="<f4")

    first, second = map(
        decoded,
        public_answers(DenseAnswers(2, vectors.tobytes()), ITEMS, ["float32", "float32"]),
    )

    assert first["id"] == "first"
    assert "id" not in second
    assert (first["dense"]["dims"], first["dense"]["dtype"]) == (2, "float32")
    assert first["dense"]["values"].tobytes() == vectors[0].tobytes()
    assert second["dense"]["values"].tolist() == [3.0, 4.0]


def test_a_vector_is_halved_where_the_request_asks_for_it_and_its_batch_mate_is_not():
    vectors = np.array([[0.1, 0.2], [0.1, 0.2]], dtype="<f4")

    half, full = map(
        decoded,
        public_answers(DenseAnswers(2, vectors.tobytes()), ITEMS, ["float16", "float32"]),
    )

    assert half["dense"]["dtype"] == "float16"
    assert half["dense"]["values"].dtype == np.float16
    assert full["dense"]["values"].dtype == np.float32


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


def test_tokens_are_quantized_one_by_one_and_sparse_weights_stay_as_they_are():
    answers = EncodeAnswers(
        sparse=SparseAnswers(counts=pack("<i", 1), indices=pack("<i", 7), values=pack("<f", 0.5)),
        multivector=MultivectorAnswers(2, counts=pack("<i", 2), values=pack("<4f", 1, -1, 2, 0)),
    )

    [answer] = map(decoded, public_answers(answers, ITEMS[:1], ["int8"]))

    assert answer["multivector"]["values"].tolist() == [[127, -127], [127, 0]]
    assert (answer["multivector"]["token_dims"], answer["multivector"]["dtype"]) == (2, "int8")
    assert (answer["sparse"]["values"].tolist(), answer["sparse"]["dtype"]) == ([0.5], "float32")


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


def test_a_score_brings_the_probability_and_the_logit_that_belong_to_it():
    answers = ScoreAnswers(pack("<2f", 3, 1), pack("<2f", 0.75, 0.5), pack("<2f", 3, 1))

    first, second = public_answers(answers, ITEMS, ["float32"] * 2)

    assert decoded(first) == {"item_id": "first", "score": 3.0, "relevance": 0.75, "logit": 3.0}
    assert decoded(second)["relevance"] == 0.5


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


@pytest.mark.parametrize(
    "answers",
    [
        DenseAnswers(2, b"\0" * 12),
        DenseAnswers(0, b""),
        ScoreAnswers(b"\0" * 4),
        EntityAnswers(((),)),
    ],
)
def test_arrays_that_do_not_fit_the_batch_are_an_inference_error(answers):
    with pytest.raises(SIEError) as caught:
        public_answers(answers, ITEMS, ["float32"] * 2)

    assert caught.value.code == "INFERENCE_ERROR"
