"""Laws of packing: nothing is lost in a packed row, and a batch answers as each text alone."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.encoder_models import dense, minilm, random_tokens
from tests.support.sameness import assert_same

from sie_server.packed.packing import Group, Segment, lay_out, packed_chunks, padded_chunks

_LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)
_OWNERS = st.sampled_from([None, 0, 1, 2])
_BATCHES = st.lists(st.tuples(st.integers(1, 300), _OWNERS), min_size=1, max_size=40)


@given(_BATCHES)
def test_every_sequence_and_token_is_in_exactly_one_group_and_segment(batch):
    lengths = [length for length, _ in batch]
    owners = [owner for _, owner in batch]
    packed = lay_out(lengths, owners)
    assert sorted(packed.order) == list(range(len(batch)))
    assert packed.lengths == tuple(lengths[index] for index in packed.order)
    both: list[Sequence[Group | Segment]] = [packed.groups, packed.segments]
    for spans in both:
        assert spans[0].start == 0
        assert spans[-1].stop == sum(lengths)
        assert all(left.stop == right.start for left, right in pairwise(spans))


@given(_BATCHES)
def test_a_segment_holds_the_tokens_of_one_adapter_and_no_adapter_has_two(batch):
    packed = lay_out([length for length, _ in batch], [owner for _, owner in batch])
    places = [
        batch[index][1]
        for index, length in zip(packed.order, packed.lengths, strict=True)
        for _ in range(length)
    ]
    for segment in packed.segments:
        assert set(places[segment.start : segment.stop]) == {segment.adapter}
    owners = [segment.adapter for segment in packed.segments]
    assert len(owners) == len(set(owners))


@given(_BATCHES, st.integers(1, 2000))
def test_padded_chunks_hold_every_sequence_once_within_the_budget(batch, budget):
    lengths = [length for length, _ in batch]
    owners = [owner for _, owner in batch]
    chunks = list(padded_chunks(lengths, owners, budget))
    assert sorted(index for chunk in chunks for index in chunk) == list(range(len(batch)))
    for chunk in chunks:
        assert len({owners[index] for index in chunk}) == 1
        width = max(lengths[index] for index in chunk)
        assert len(chunk) == 1 or len(chunk) * width <= budget


@settings(max_examples=12)
@given(
    st.lists(st.integers(1, 70), min_size=1, max_size=7),
    st.integers(0, 2**16),
    st.sampled_from([None, "legal", "medical"]),
)
def test_a_batch_of_minilm_answers_as_each_text_alone(lengths, seed, adapter):
    texts = random_tokens(lengths, seed=seed)
    together = dense(minilm(), texts, adapter)
    for text, vector in zip(texts, together, strict=True):
        assert_same(vector[None], dense(minilm(), [text], adapter))


@settings(max_examples=8)
@given(st.lists(st.sampled_from([None, "legal", "medical"]), min_size=2, max_size=6))
def test_a_batch_does_not_see_the_adapter_of_the_batch_before_it(adapters):
    texts = random_tokens([9, 4], seed=5)
    alone = {adapter: dense(minilm(), texts, adapter) for adapter in set(adapters)}
    for adapter in adapters:
        assert dense(minilm(), texts, adapter).tobytes() == alone[adapter].tobytes()


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from([None, "legal", "medical"])),
        min_size=1,
        max_size=6,
    )
)
def test_texts_of_several_adapters_in_one_batch_answer_as_in_batches_of_their_own(batch):
    texts = random_tokens([length for length, _ in batch], seed=8)
    names = [name for _, name in batch]
    together = dense(minilm(), texts, adapters=names)
    for text, name, vector in zip(texts, names, together, strict=True):
        assert_same(vector[None], dense(minilm(), [text], name))


@given(_BATCHES, st.integers(1, 2000))
def test_packed_rows_hold_every_sequence_once_within_their_bound(batch, bound):
    lengths = [length for length, _ in batch]
    owners = [owner for _, owner in batch]
    chunks = list(packed_chunks(lengths, owners, bound))
    order = [index for chunk in chunks for index in chunk]
    assert order == list(lay_out(lengths, owners).order)
    assert all(len(chunk) == 1 or sum(lengths[i] for i in chunk) <= bound for chunk in chunks)


def test_a_batch_longer_than_one_packed_row_answers_in_the_order_of_its_inputs():
    texts = random_tokens([200, 7] * 12, seed=9)
    names = ["legal", None, None, "medical"] * 6
    together = dense(minilm(), texts, adapters=names)
    for place in (0, 1, 2, 3, 23):
        assert_same(together[place][None], dense(minilm(), [texts[place]], names[place]))
