"""Laws of what a worker makes of a batch: each item is answered as if it were alone."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec import structs

from sie_schemas.arrays import DTYPES, from_wire, in_dtype
from sie_schemas.errors import FixRequest, OurFault, SIEError
from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    EncodeAnswers,
    Loaded,
    MultivectorAnswers,
    ScoreAnswers,
    SparseAnswers,
)
from sie_schemas.items import Item
from sie_schemas.jobs import Job
from sie_worker.forms.answers import kept, public_answers
from sie_worker.forms.wording import check_options

DIM = 9
# Few numbers, among them zeros and equal ones: borders are where forms differ.
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -2.0])
SCORES = NUMBERS | st.sampled_from([float("nan"), float("inf")])
PLAIN = st.just(("float32", None))
TYPES = st.sampled_from(sorted(DTYPES))
CUT = st.tuples(st.just("float32"), st.integers(1, DIM))
ASKED = PLAIN | CUT | st.tuples(TYPES, st.none()) | st.tuples(TYPES, st.integers(1, DIM))
"""Every fourth time as nearly all ask, which goes a shorter way."""
IDS = st.none() | st.text(max_size=2)
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
    asked = data.draw(st.lists(PLAIN | CUT | ASKED, min_size=count, max_size=count))
    items = [Item(text="x", id=data.draw(IDS)) for _ in given_]
    together = answered(made(given_), items, asked)
    for place, one in enumerate(together):
        assert answered(made([given_[place]]), [items[place]], [asked[place]]) == [one]


@given(
    triples=st.lists(st.tuples(SCORES, SCORES, SCORES), min_size=1, max_size=4),
    ids=st.lists(IDS, min_size=4, max_size=4),
)
def test_an_answer_to_a_pair_has_numbers_alone_or_is_an_error(triples, ids):
    items = [Item(text="x", id=name) for name, _ in zip(ids, triples, strict=False)]
    found = public_answers(scored(triples), items, [])
    for row, item, one in zip(triples, items, found, strict=True):
        assert isinstance(one, bytes) is all(map(math.isfinite, row))
        if isinstance(one, bytes):
            told = msgspec.msgpack.decode(one)
            score, relevance, logit = row
            numbers = {"score": score, "relevance": relevance, "logit": logit}
            assert told == {"item_id": item.id, **numbers}


@given(ROWS, st.sampled_from(sorted(DTYPES)), st.integers(1, 2 * DIM), st.integers(-9, 9))
def test_each_token_is_written_and_cut_as_if_it_were_alone(rows, dtype, width, apart):
    # Rows of which neither the least nor the greatest number is another's.
    rows = rows + np.arange(len(rows), dtype=np.float32)[:, None] * apart
    told, cut = in_dtype(rows, dtype), kept(rows, width)
    assert len(told) == len(cut) == len(rows)
    for place, row in enumerate(rows):
        assert np.array_equal(told[place], in_dtype(row, dtype))
        assert np.array_equal(cut[place], kept(row, width))
    assert width < DIM or cut is rows


@given(arrays.arrays(np.float32, DIM, elements=NUMBERS | st.integers(-99, 99).map(float)))
def test_smaller_types_keep_the_order_and_the_sign_of_the_numbers(vector):
    order = np.argsort(vector, kind="stable")
    for dtype in ("float16", "int8", "uint8"):
        assert np.all(np.diff(in_dtype(vector, dtype)[order].astype(float)) >= 0)
    largest = np.abs(vector).max()
    steps = vector / largest * 127 if largest else vector
    assert np.array_equal(in_dtype(vector, "int8"), steps.round()), "the nearest of 255 steps"
    spread = {*in_dtype(vector, "uint8").tolist()}
    assert {min(spread), max(spread)} == ({0, 255} if np.ptp(vector) else {0})
    bits = np.unpackbits(in_dtype(vector, "binary"))
    assert bits[:DIM].tolist() == (vector > 0).tolist()
    assert not bits[DIM:].any()


@given(counts=st.lists(st.integers(-2, 3), min_size=1, max_size=5), tokens=st.booleans())
def test_the_parts_of_a_batch_lie_behind_each_other_and_none_goes_back(counts, tokens):
    """A part that begins before the one ahead of it has ended holds another client's numbers."""
    total = max(0, sum(counts))
    numbers = np.arange(total, dtype="<f4")
    sparse = SparseAnswers(int32(counts), int32([*range(total)]), numbers.tobytes())
    multivector = MultivectorAnswers(1, int32(counts), numbers.tobytes())
    part = EncodeAnswers(multivector=multivector) if tokens else EncodeAnswers(sparse=sparse)
    items, asked = [Item(text="x")] * len(counts), [("float32", None)] * len(counts)
    if min(counts) < 0:
        with pytest.raises(OurFault):
            answered(part, items, asked)
        return
    found: list[float] = []
    for count, one in zip(counts, answered(part, items, asked), strict=True):
        assert isinstance(one, bytes)
        told = from_wire(msgspec.msgpack.decode(one))["multivector" if tokens else "sparse"]
        assert told["values"].size == count
        found += told["values"].reshape(-1).tolist()
    assert found == numbers.tolist()


@pytest.mark.parametrize("made", [dense, encoded, scored])
@given(data=st.data(), count=COUNT)
def test_a_batch_whose_arrays_do_not_fit_it_has_no_answer(data, made, count):
    """A place too far is another client's vector."""
    triples = st.tuples(NUMBERS, NUMBERS, NUMBERS)
    given_ = data.draw(
        st.lists(triples if made is scored else ROWS, min_size=count, max_size=count)
    )
    whole = made([rows[0] for rows in given_] if made is dense else given_)
    part = whole
    if isinstance(whole, EncodeAnswers):
        output = data.draw(st.sampled_from(["dense", "sparse", "multivector"]))
        part = getattr(whole, output)
    names = [name for name in part.__struct_fields__ if isinstance(getattr(part, name), bytes)]
    name = data.draw(st.sampled_from(names))
    right = getattr(part, name)
    wrong = data.draw(st.sampled_from([right[:-4], right[:-1], right + b"\0", right + right]))
    if name == "values" and hasattr(part, "dim") and data.draw(st.booleans()):
        part, wrong = structs.replace(part, dim=0), b""
    if made is scored and name != "values":
        # None at all is a model that does not tell them.
        assume(wrong)
    part = structs.replace(part, **{name: wrong})
    if isinstance(whole, EncodeAnswers):
        part = structs.replace(whole, **{output: part})
    asked = data.draw(st.sampled_from([("float32", None), ("float16", 2)]))
    with pytest.raises(OurFault) as refused:
        answered(part, [Item(text="x")] * count, [asked] * count)
    assert refused.value.code == "INFERENCE_ERROR"


OUTPUTS = ("dense", "sparse", "multivector")


@given(
    outputs=st.permutations(OUTPUTS) | st.permutations(("dense", "multivector")),
    dims=st.fixed_dictionaries({}, optional={name: st.integers(0, 6) for name in OUTPUTS}),
    wanted=st.integers(1, 6),
)
def test_no_more_numbers_are_asked_of_a_vector_than_each_has_that_is_cut(outputs, dims, wanted):
    """Of a width that is not told nothing is known. Weights of a vocabulary are never cut."""
    job = Job(
        job_id="a",
        request_id="a",
        reply_to="",
        first_item=0,
        published_at=0.0,
        deadline=0.0,
        log_id="",
        epoch=1,
        model_id="org/a",
        profile="default",
        model_revision="r",
        operation="encode",
        items=(Item(text="x"),),
        output_types=tuple(outputs),
        dimensions=wanted,
    )
    loaded = Loaded(id=0, revision="r", accepts="text", dims=dims)
    widths = [dims.get(output, 0) for output in outputs if output != "sparse"]
    if all(width >= wanted for width in widths if width):
        check_options(job, loaded)
        return
    with pytest.raises(FixRequest) as refused:
        check_options(job, loaded)
    assert refused.value.field == "$.params.dimensions"


@given(ROWS, ASKED, IDS)
def test_what_is_told_of_a_vector_is_so(rows, asked, name):
    dtype, width = asked
    [one] = answered(encoded([rows]), [Item(text="x", id=name)], [asked])
    assert isinstance(one, bytes)
    found = from_wire(msgspec.msgpack.decode(one))
    assert ("id" in found, found.get("id")) == (name is not None, name)
    # Weights of a vocabulary are floats: in smaller types they would save nothing.
    assert found["sparse"]["dtype"] == (dtype if dtype == "float16" else "float32")
    assert found["dense"]["dtype"] == found["multivector"]["dtype"] == dtype
    assert found["dense"]["dims"] == found["multivector"]["token_dims"] == (width or DIM)
    written = in_dtype(kept(rows, width or DIM), dtype)
    assert found["multivector"]["values"].dtype == written.dtype
    assert np.array_equal(found["multivector"]["values"], written)
    assert found["dense"]["values"].dtype == written.dtype
    assert np.array_equal(found["dense"]["values"], written[0])
    [vector] = answered(dense([rows[0]]), [Item(text="x", id=name)], [asked])
    assert isinstance(vector, bytes)
    alone = from_wire(msgspec.msgpack.decode(vector))["dense"]
    assert np.array_equal(alone.pop("values"), written[0])
    assert alone == {"dims": width or DIM, "dtype": dtype}
    assert found["multivector"]["num_tokens"] == len(rows)
    assert found["sparse"]["indices"].tolist() == [*range(len(rows))]
    assert np.array_equal(found["sparse"]["values"].astype("<f4"), rows[:, 0])
