"""Laws of the way from token ids to a model's answer: what is let in, and what becomes of it."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors.torch import save_file
from tests.support.sameness import assert_same

from sie_layouts.steps import (
    DenseStep,
    NormalizeStep,
    PoolingStep,
    SpladeStep,
    StaticStep,
    Step,
    TextLayout,
    TokenWeightsStep,
)
from sie_schemas.errors import FixRequest, OurFault
from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    EncodeAnswers,
    Loaded,
    RunBatch,
    SparseAnswers,
    TokensInput,
)
from sie_server.backends.backend import WithoutAdapters
from sie_server.backends.encode.routed import RoutedBackend
from sie_server.backends.forward.token_inputs import TokenLimits, read_tokens, tokens_max
from sie_server.backends.heads.encode_heads import lexical
from sie_server.backends.heads.vector_answers import as_given, rows_as_given, sparse_rows
from sie_server.vectors.pooling import pool
from sie_server.vectors.steps import VectorSteps
from sie_server.vectors.tables import read_table
from sie_server.weights.sources import Weights

CPU = torch.device("cpu")
NOWHERE = Weights(Path("/nowhere"), None)


def int32(values: Sequence[int]) -> bytes:
    return np.array(values, "<i4").tobytes()


def states(lengths: Sequence[int], width: int) -> torch.Tensor:
    return torch.randn(sum(lengths), width, generator=torch.Generator().manual_seed(len(lengths)))


TEXTS = st.lists(
    st.tuples(st.lists(st.integers(-1, 5), max_size=5), st.lists(st.integers(-1, 3), max_size=5)),
    min_size=1,
    max_size=3,
)


@example([([1, 2], [3, 3])], 2, None)
@example([([1, 2, 3, 4], [])], 0, 2)
@example([([1, 2], [0, 1]), ([3, 4], [1, 0]), ([0, 1], [])], 2, None)
@given(TEXTS, st.integers(0, 3), st.sampled_from([None, 1]))
def test_the_device_sees_the_ids_of_its_tables_and_texts_that_it_reads_and_no_others(
    texts, types, uncounted
):
    limits = TokenLimits(vocabulary=5, types=types, tokens_max=4, uncounted=uncounted)
    given_in = [TokensInput(int32(ids), int32(kinds)) for ids, kinds in texts]
    fits = all(
        1 <= len(ids) <= 4
        and (len(ids) < 4 or uncounted not in ids)
        and set(ids) <= set(range(5))
        and (not types or not kinds or (len(kinds) == len(ids) and set(kinds) <= {*range(types)}))
        for ids, kinds in texts
    )
    if not fits:
        with pytest.raises(FixRequest):
            read_tokens(given_in, limits)
        return
    found, kinds_found = read_tokens(given_in, limits)
    assert [each.tolist() for each in found] == [ids for ids, _ in texts]
    told = [None if each is None else each.tolist() for each in kinds_found]
    assert told == [kinds if types and kinds else None for _, kinds in texts]
    with pytest.raises(FixRequest, match="whole int32"):
        read_tokens([*given_in, TokensInput(int32([1]) + bytes(2))], limits)


BOUND = st.none() | st.integers(1, 6)


@given(read=BOUND, usual=BOUND, capped=st.booleans(), said=BOUND, named=BOUND, positions=BOUND)
def test_a_model_reads_as_many_tokens_as_the_shortest_of_its_limits(
    read, usual, capped, said, named, positions
):
    """A profile speaks in place of a library's usual length; both are within what a model has."""
    text = TextLayout(tokens_max=read, capped_by_positions=capped, tokens_usual=usual)
    for layout in (text, None):
        wanted = [said, named if capped or layout is None else None]
        if layout is not None:
            wanted += [read, usual if said is None else None]
        known = [limit for limit in (*wanted, positions) if limit]
        limits = {"said": said, "named": named, "positions": positions}
        if known:
            shortest = min(known)
            assert tokens_max(layout, **limits) == (shortest, shortest not in wanted)
        else:
            with pytest.raises(OurFault, match="max_sequence_length"):
                tokens_max(layout, **limits)


@given(st.permutations(range(5)))
def test_what_was_packed_in_another_order_comes_back_in_the_order_of_the_inputs(order):
    rows = torch.tensor([[float(place)] for place in order])
    assert rows_as_given(rows, order).flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert as_given(order, order) == [0, 1, 2, 3, 4]


NUMBERS = st.sampled_from([0.0, 1.0, -2.0, 3.0, -4.0, 5.0])


@given(
    st.lists(st.lists(NUMBERS, min_size=6, max_size=6, unique=True), min_size=1, max_size=8),
    st.none() | st.integers(1, 7),
)
def test_a_sparse_row_has_its_greatest_numbers_whatever_their_sign_at_their_places(rows, kept):
    found = sparse_rows(torch.tensor(rows), kept)
    counts = np.frombuffer(found.counts, "<i4").tolist()
    places, values = np.frombuffer(found.indices, "<i4"), np.frombuffer(found.values, "<f4")
    bounds = [0, *accumulate(counts)]
    for row, (start, stop) in zip(rows, pairwise(bounds), strict=True):
        least = sorted(map(abs, row))[-min(kept or 6, 6)]
        wanted = {place: one for place, one in enumerate(row) if one and abs(one) >= least}
        pairs = zip(places[start:stop].tolist(), values[start:stop].tolist(), strict=True)
        assert list(pairs) == sorted(wanted.items())


class ByIds(WithoutAdapters):
    """A model whose answer to a text is its ids behind a number of its own."""

    name = "by-ids"

    def __init__(self, number: int, *, sparse: bool, execution: str = "packed") -> None:
        self._number = number
        self._sparse = sparse
        self._execution = execution

    def describe(self) -> Loaded:
        return Loaded(
            id=0,
            revision="r",
            accepts="tokens",
            cost_unit="tokens",
            dims={"dense": 2},
            execution=self._execution,
            reason=str(self._number),
        )

    def run(self, batch: RunBatch) -> Answers:
        ids = [np.frombuffer(each.ids, "<i4").tolist() for each in batch.inputs]  # type: ignore[union-attr]
        if not self._sparse:
            return DenseAnswers(
                2, np.array([(self._number, each[0]) for each in ids], "<f4").tobytes()
            )
        rows = [[self._number, *each] for each in ids]
        return EncodeAnswers(
            sparse=SparseAnswers(
                int32([len(row) for row in rows]),
                b"".join(map(int32, rows)),
                b"".join(np.array(row, "<f4").tobytes() for row in rows),
            )
        )

    def memory_bytes(self) -> int:
        return self._number


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), min_size=1, max_size=6), st.booleans())
def test_each_text_is_answered_by_the_model_of_its_side_in_the_place_that_it_has(texts, sparse):
    routed = RoutedBackend(ByIds(1, sparse=sparse), ByIds(2, sparse=sparse), by_default=False)
    inputs = tuple(
        TokensInput(int32([place + 10] * count), query=is_query)
        for place, (is_query, count) in enumerate(texts)
    )
    batch = RunBatch(id=1, model_revision="r", operation="encode", inputs=inputs)
    wanted = [
        ByIds(2 if each.query else 1, sparse=sparse).run(replace(batch, inputs=(each,)))
        for each in inputs
    ]
    found = routed.run(batch)
    if isinstance(found, DenseAnswers):
        assert found.values == b"".join(each.values for each in wanted)  # type: ignore[union-attr]
        return
    assert isinstance(found, EncodeAnswers) and found.sparse is not None
    for name in ("counts", "indices", "values"):
        parts = [getattr(each.sparse, name) for each in wanted]  # type: ignore[union-attr]
        assert getattr(found.sparse, name) == b"".join(parts)


@pytest.mark.parametrize(
    ("documents", "queries", "told"),
    [
        ("packed", "packed", ("packed", "")),
        ("padded", "packed", ("padded", "1")),
        ("packed", "padded", ("padded", "2")),
    ],
)
def test_two_models_behind_one_name_run_as_well_as_the_worse_of_them(documents, queries, told):
    routed = RoutedBackend(
        ByIds(1, sparse=False, execution=documents),
        ByIds(2, sparse=False, execution=queries),
        by_default=False,
    ).describe()
    assert (routed.execution, routed.reason, routed.memory_bytes) == (*told, 3)


LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(LENGTHS, st.none() | st.integers(1, 4), st.booleans(), st.sampled_from([None, True, False]))
def test_a_vector_has_length_one_where_the_request_wants_it_also_when_it_was_cut(
    lengths, kept, normalizes, unit
):
    steps: list[Step] = [PoolingStep(("mean",), 4), *([NormalizeStep()] if normalizes else [])]
    hidden = states(lengths, 4)
    found = VectorSteps(steps, NOWHERE, CPU, kept=kept)(hidden, lengths, unit=unit)
    vectors = pool(hidden, lengths, "mean")
    if normalizes and unit is not False:
        vectors = torch.nn.functional.normalize(vectors, dim=1)
    vectors = vectors[:, :kept]
    if unit:
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
    assert_same(found.numpy(), vectors.numpy())


@given(
    LENGTHS,
    st.lists(st.sampled_from(["cls", "max", "unit"]), max_size=4),
    st.sampled_from([None, True, False]),
)
def test_every_step_is_done_in_its_order_but_a_last_one_that_is_not_wanted(lengths, more, unit):
    """A step that is left out in the middle is another model."""
    names: list[Any] = ["mean", *more]
    steps: list[Step] = [
        NormalizeStep() if name == "unit" else PoolingStep((name,), 4) for name in names
    ]
    hidden = states(lengths, 4)
    found = VectorSteps(steps, NOWHERE, CPU)(hidden, lengths, unit=unit)
    if unit is False and names[-1] == "unit":
        names.pop()
    vectors = torch.empty(0)
    for name in [*names, *(["unit"] if unit else [])]:
        if name == "unit":
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        else:
            vectors = pool(hidden, lengths, name)
    assert_same(found.numpy(), vectors.numpy())


@given(LENGTHS, st.permutations(["cls", "mean", "max"]), st.booleans(), st.integers(0, 2))
def test_several_ways_of_pooling_stand_behind_each_other_in_their_order(
    lengths, modes, include_prompt, skip
):
    hidden, skips = states(lengths, 3), [min(skip, length - 1) for length in lengths]
    steps = VectorSteps([PoolingStep(tuple(modes), 9, include_prompt)], NOWHERE, CPU)
    counted = () if include_prompt else skips
    wanted = torch.cat([pool(hidden, lengths, mode, skips=counted) for mode in modes], dim=1)
    assert steps.skips_prompts is not include_prompt
    assert torch.equal(steps(hidden, lengths, skips), wanted)


@example([600, 1, 257], "sum", "log1p_relu")
@example([600, 1, 257], "max", "relu")
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.sampled_from(["max", "sum"]),
    st.sampled_from(["relu", "log1p_relu"]),
)
def test_the_weights_of_a_vocabulary_are_those_of_all_tokens_however_long_the_text(
    lengths, pooling, activation
):
    hidden = states(lengths, 3)
    found = VectorSteps([SpladeStep(pooling, activation)], NOWHERE, CPU, scores=lambda each: each)(
        hidden, lengths
    )
    weights = np.log1p(np.maximum(hidden.double().numpy(), 0))
    weights = np.log1p(weights) if activation == "log1p_relu" else weights
    texts = np.split(weights, list(accumulate(lengths))[:-1])
    wanted = np.stack(
        [text.max(axis=0) if pooling == "max" else text.sum(axis=0) for text in texts]
    )
    assert_same(found.numpy(), wanted.astype(np.float32))


@given(width=st.integers(1, 5), out=st.integers(1, 5), tokens=st.integers(1, 6))
def test_a_layer_computes_in_float32_whatever_the_models_type(tmp_path_factory, width, out, tokens):
    folder = tmp_path_factory.mktemp("layer", numbered=True)
    matrix = states([out], width)
    save_file({"linear.weight": matrix}, folder / "layer.safetensors")
    step = DenseStep(
        "layer.safetensors",
        width,
        out,
        bias=False,
        activation="Identity",
        source="token_embeddings",
        target="token_embeddings",
    )
    hidden = states([tokens], width).half()
    found = VectorSteps([step], Weights(folder, None), CPU).of_tokens(hidden)
    assert found.dtype == torch.float32
    assert_same(found.numpy(), (hidden.float() @ matrix.T).numpy())


IDS = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=4)
LIMIT = TextLayout(None)


@given(IDS, st.booleans(), st.booleans())
def test_a_text_of_a_table_is_the_mean_of_its_tokens_rows(
    tmp_path_factory, texts, is_mapped, is_weighed
):
    folder = tmp_path_factory.mktemp("table", numbered=True)
    rows = states([3 if is_mapped else 5], 2)
    wanted, tensors = rows, {"embeddings": rows}
    if is_mapped:
        tensors["mapping"] = torch.tensor([2, 0, 1, 0, 2])
        wanted = wanted[tensors["mapping"]]
    if is_weighed:
        tensors["weights"] = torch.tensor([1.0, 0.5, 2.0, 0.25, 3.0])
        wanted = wanted * tensors["weights"][:, None]
    save_file(tensors, folder / "model.safetensors")
    step = StaticStep("", LIMIT, "model.safetensors")
    table = read_table(Weights(folder, None), step, CPU)
    found = table.of([torch.tensor(ids) for ids in texts])
    assert_same(found.numpy(), torch.stack([wanted[ids].mean(dim=0) for ids in texts]).numpy())


@given(IDS)
def test_a_token_of_a_table_of_weights_counts_once_however_often_it_is_there(
    tmp_path_factory, texts
):
    folder = tmp_path_factory.mktemp("weights", numbered=True)
    weights = torch.tensor([1.0, 0.5, 2.0, 0.25, 3.0])
    save_file({"weight": weights}, folder / "weights.safetensors")
    table = read_table(
        Weights(folder, None), TokenWeightsStep("", LIMIT, "weights.safetensors"), CPU
    )
    wanted: list[Any] = [
        [weight if token in ids else 0.0 for token, weight in enumerate(weights.tolist())]
        for ids in texts
    ]
    assert table.of([torch.tensor(ids) for ids in texts]).tolist() == wanted


@example([[(2, 1.0), (2, 3.0), (3, -1.0), (0, 4.0), (4, 0.0)], [(2, 2.0)]])
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 3, width=16)), min_size=1, max_size=6),
        min_size=1,
        max_size=3,
    )
)
def test_a_word_of_a_text_weighs_as_the_strongest_of_its_tokens_and_nothing_else_does(texts):
    special = {0, 1}
    found = lexical(
        torch.tensor([weight for text in texts for _, weight in text], dtype=torch.float16),
        [torch.tensor([token for token, _ in text]) for text in texts],
        np.array(sorted(special)),
    )
    wanted = [
        {
            token: max(weight for other, weight in text if other == token)
            for token, _ in sorted(text)
            if token not in special and any(w > 0 for other, w in text if other == token)
        }
        for text in texts
    ]
    assert [list(zip(*map(np.ndarray.tolist, row), strict=True)) for row in found] == [
        list(text.items()) for text in wanted
    ]
