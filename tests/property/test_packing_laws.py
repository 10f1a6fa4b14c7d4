"""Laws of packing: nothing is lost in a packed row, and a batch answers as each text alone."""

from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.encoder_models import dense, minilm, random_tokens
from tests.support.sameness import assert_same

from sie_server.packed.packing import ADAPTERS_MAX, end_to_end, packed_rows, padded_chunks

_OWNERS = st.one_of(st.none(), st.integers(0, 30))
_SIZES = st.integers(1, 300) | st.sampled_from([15, 16, 17, 127, 128, 129])
"""Lengths about those of blocks too."""
_FEW = st.lists(st.tuples(_SIZES, _OWNERS), min_size=1, max_size=40)
_CROWDS = st.tuples(
    st.integers(130, 400),
    st.integers(1, 400),
    st.just([1]) | st.lists(st.integers(1, 90), min_size=1, max_size=3),
).map(
    lambda drawn: [
        (drawn[2][at % len(drawn[2])], None if at % 7 == 0 else at % drawn[1])
        for at in range(drawn[0])
    ]
)
"""More than are looked at for the room that is left, with more adapters than a row may have."""
_BATCHES = _FEW | _CROWDS
_LONG_ROW_ADAPTERS = 128


def _rows(batch, bound):
    """The batch in rows of blocks, and in rows end to end."""
    lengths = [length for length, _ in batch]
    owners = [owner for _, owner in batch]
    return [
        list(packed_rows(lengths, owners, tokens_max=bound, block=128)),
        list(end_to_end(lengths, owners, bound)),
    ]


@given(_BATCHES, st.integers(1, 2000))
def test_every_sequence_is_in_exactly_one_row_and_says_its_length_and_adapter(batch, bound):
    for rows in _rows(batch, bound):
        assert sorted(index for row in rows for index in row.order) == list(range(len(batch)))
        for row in rows:
            assert list(zip(row.lengths, row.adapters, strict=True)) == [
                batch[index] for index in row.order
            ]


@given(_BATCHES, st.integers(1, 2000))
def test_no_sequence_lies_in_two_blocks_and_the_blocks_fill_the_row(batch, bound):
    for rows in _rows(batch, bound):
        for row in rows:
            assert row.tokens % row.block == 0
            start = 0
            for length, gap in zip(row.lengths, row.gaps, strict=True):
                assert start // row.block == (start + length - 1) // row.block
                start += length + gap
            assert start == row.tokens == sum(count for count, _ in row.owners)


@given(_BATCHES, st.integers(1, 2000))
def test_a_row_is_within_its_bound_unless_one_sequence_is_not(batch, bound):
    blocks, ends = _rows(batch, bound)
    assert all(len(row.order) == 1 or row.tokens <= bound for row in ends)
    # A block is made for the longest, or for a hundred tokens of short ones.
    assert all(row.tokens <= max(bound, row.block) for row in blocks)
    assert all(len(set(row.adapters)) <= ADAPTERS_MAX for row in blocks)
    assert all(len(set(row.adapters)) <= _LONG_ROW_ADAPTERS for row in ends)
    assert all(not any(row.gaps) for row in ends)


@given(_BATCHES, st.integers(1, 2000))
def test_a_row_shares_blocks_unless_each_of_its_sequences_is_a_block(batch, bound):
    """A row that shares none is all blocks: tokens look at all of theirs, without a mask."""
    for rows in _rows(batch, bound):
        for row in rows:
            is_block = all(length == row.block for length in row.lengths)
            assert row.shares_blocks is (len(row.order) > 1 and not is_block)
            assert row.seen == (row.lengths[0] if len(row.order) == 1 else row.block)


@given(_BATCHES, st.integers(1, 2000))
def test_sequences_of_one_adapter_come_one_after_another(batch, bound):
    """Each adapter of a row costs every token of it, and each chunk has one."""
    owners = [owner for _, owner in batch]
    chunks = padded_chunks([length for length, _ in batch], owners, bound)
    for order in (
        [owner for row in _rows(batch, bound)[1] for owner in row.adapters],
        [owners[index] for chunk in chunks for index in chunk],
    ):
        assert len([*groupby(order)]) == len(set(owners))


@given(st.lists(st.integers(1, 300), min_size=40, max_size=200))
def test_rows_have_few_sizes_and_little_filling(lengths):
    rows = list(packed_rows(lengths, [None] * len(lengths), tokens_max=512, block=128))
    assert all(row.tokens % 16 == 0 for row in rows)
    assert sum(row.tokens for row in rows) <= 1.3 * sum(lengths) + 512


@given(st.integers(1, 9000))
def test_a_lone_sequence_is_filled_up_by_an_eighth_at_most(length):
    [row] = packed_rows([length], [None], tokens_max=512, block=128)
    assert length <= row.tokens <= max(length + 15, 1.125 * length)
    assert row.seen == length and not row.shares_blocks


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
    st.lists(st.integers(1, 200), min_size=1, max_size=7),
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


def test_a_batch_longer_than_one_packed_row_answers_in_the_order_of_its_inputs():
    texts = random_tokens([200, 7] * 12, seed=9)
    names = ["legal", None, None, "medical"] * 6
    together = dense(minilm(), texts, adapters=names)
    for place in (0, 1, 2, 3, 23):
        assert_same(together[place][None], dense(minilm(), [texts[place]], names[place]))
