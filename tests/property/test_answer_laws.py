"""Laws of what a worker makes of a batch: each item is answered as if it were alone."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sie_schemas.arrays import DTYPES, from_wire, in_dtype
from sie_schemas.errors import SIEError
from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    EncodeAnswers,
    MultivectorAnswers,
    ScoreAnswers,
    SparseAnswers,
)
from sie_schemas.items import Item
from sie_worker.forms.answers import kept, public_answers

DIM = 9
# Few numbers, among them zeros and equal ones: borders are where forms differ.
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -2.0])
SCORES = NUMBERS | st.sampled_from([float("nan"), float("inf")])
PLAIN = st.just(("float32", None))
TYPES = st.sampled_from(sorted(DTYPES))
ASKED = PLAIN | st.tuples(TYPES, st.none()) | st.tuples(TYPES, st.integers(1, DIM))
"""Every third time as nearly all ask, which goes a shorter way."""
ROWS = st.integers(1, 3).flatmap(
    lambda count: arrays.arrays(np.float32, (count, DIM), elements=NUMBERS)
)
COUNT = st.integers(1, 4)


def int32(values: list[int]) -> bytes:
    return np.array(values, "<i4").tobytes()


def dense(vectors: list[Any]) -> DenseAnswers:
    return DenseAnswers(DIM, b"".join(each.astype("<f4").tobytes() for each in vectors))


def encoded(items: list[Any]) -> EncodeAnswers:
    return EncodeAnswers(
        dense=dense([rows[0] for rows in items]),
        sparse=SparseAnswers(
            int32([len(rows) for rows in items]),
            int32([place for rows in items for place in range(len(rows))]),
            b"".join(rows[:, 0].astype("<f4").tobytes() for rows in items),
        ),
        multivector=MultivectorAnswers(
            DIM,
            int32([len(rows) for rows in items]),
            b"".join(rows.astype("<f4").tobytes() for rows in items),
        ),
    )


def scored(items: list[Any]) -> ScoreAnswers:
    values, relevance, logits = (
        np.array([row[at] for row in items], "<f4").tobytes() for at in range(3)
    )
    return ScoreAnswers(values, relevance, logits)


def answered(answers: Answers, items: list[Item], asked: list[Any]) -> list[bytes | str]:
    found = public_answers(
        answers, items, [dtype for dtype, _ in asked], [width for _, width in asked]
    )
    return [one.code if isinstance(one, SIEError) else one for one in found]


@pytest.mark.parametrize("made", [dense, encoded, scored])
@given(data=st.data(), count=COUNT)
def test_a_batch_answers_each_item_as_a_batch_of_that_item_alone_does(data, made, count):
    triples = st.tuples(SCORES, SCORES, SCORES)
    given_ = data.draw(
        st.lists(triples if made is scored else ROWS, min_size=count, max_size=count)
    )
    given_ = [rows[0] for rows in given_] if made is dense else given_
    asked = data.draw(st.lists(ASKED, min_size=count, max_size=count))
    items = [Item(text="x", id=data.draw(st.none() | st.text(max_size=2))) for _ in given_]
    together = answered(made(given_), items, asked)
    for place, one in enumerate(together):
        assert answered(made([given_[place]]), [items[place]], [asked[place]]) == [one]


@given(triples=st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=4))
def test_an_answer_to_a_pair_has_numbers_alone_or_is_an_error(triples):
    items = [Item(text="x", id=str(place)) for place in range(len(triples))]
    for row, one in zip(triples, public_answers(scored(triples), items, []), strict=True):
        assert isinstance(one, bytes) is all(map(math.isfinite, row))
        if isinstance(one, bytes):
            told = msgspec.msgpack.decode(one)
            assert (told["score"], told["relevance"], told["logit"]) == row


@given(ROWS, st.sampled_from(sorted(DTYPES)), st.integers(1, 2 * DIM))
def test_each_token_is_written_and_cut_as_if_it_were_alone(rows, dtype, width):
    told, cut = in_dtype(rows, dtype), kept(rows, width)
    assert len(told) == len(cut) == len(rows)
    for place, row in enumerate(rows):
        assert np.array_equal(told[place], in_dtype(row, dtype))
        assert np.array_equal(cut[place], kept(row, width))
    assert width < DIM or cut is rows


@given(arrays.arrays(np.float32, DIM, elements=NUMBERS))
def test_smaller_types_keep_the_order_and_the_sign_of_the_numbers(vector):
    order = np.argsort(vector, kind="stable")
    for dtype in ("float16", "int8", "uint8"):
        assert np.all(np.diff(in_dtype(vector, dtype)[order].astype(float)) >= 0)
    largest = np.abs(vector).max()
    assert np.abs(in_dtype(vector, "int8").astype(int)).max() == (127 if largest else 0)
    spread = {*in_dtype(vector, "uint8").tolist()}
    assert {min(spread), max(spread)} == ({0, 255} if np.ptp(vector) else {0})
    bits = np.unpackbits(in_dtype(vector, "binary"))
    assert bits[:DIM].tolist() == (vector > 0).tolist()
    assert not bits[DIM:].any()


@given(ROWS, ASKED)
def test_what_is_told_of_a_vector_is_so(rows, asked):
    dtype, width = asked
    [one] = answered(encoded([rows]), [Item(text="x")], [asked])
    assert isinstance(one, bytes)
    found = from_wire(msgspec.msgpack.decode(one))
    assert found["dense"]["dtype"] == found["multivector"]["dtype"] == dtype
    assert found["dense"]["dims"] == found["multivector"]["token_dims"] == (width or DIM)
    assert found["multivector"]["num_tokens"] == len(rows)
    assert found["sparse"]["indices"].tolist() == [*range(len(rows))]
    assert np.array_equal(found["sparse"]["values"].astype("<f4"), rows[:, 0])
