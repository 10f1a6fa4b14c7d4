"""Laws of bodies of many values: they are counted exactly, at a cost that their length bounds."""

from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_runtime.texts.many_values import has_too_many

LEAVES = st.one_of(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False),
    st.text(max_size=40)
    | st.sampled_from(["[" * 300, "{" * 40, '\\":' * 9, '"[\\', "\u0080" * 20]),
)
PACKED_LEAVES = LEAVES | st.sampled_from([b"\x80" * 300, b"\xdc" * 40, b"", b"\x90" * 70_000])


def nested(leaves):
    """Lists and maps of these, also long ones."""
    long: st.SearchStrategy[object] = st.integers(14, 18).map(lambda size: [[]] * size)
    return st.recursive(
        leaves | long,
        lambda inner: (
            st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=20)
        ),
        max_leaves=30,
    )


def count(value):
    match value:
        case list():
            return 1 + sum(map(count, value))
        case dict():
            return 1 + len(value) + sum(map(count, value.values()))
        case _:
            return 0


@given(value=nested(LEAVES), packed=nested(PACKED_LEAVES))
def test_a_body_has_too_many_lists_maps_and_names_where_one_counts_more_than_are_allowed(
    value, packed
):
    for is_msgpack, encode, found in (
        (False, msgspec.json.encode, value),
        (True, msgspec.msgpack.encode, packed),
    ):
        body, there = encode(found), count(found)
        assert not has_too_many(body, is_msgpack=is_msgpack, most=there)
        assert not there or has_too_many(body, is_msgpack=is_msgpack, most=there - 1)


WORDS = st.lists(
    st.sampled_from(["a,b", '",', "\\,", "", 7, -1.5, None, True, 2**40, "x" * 40])
    | st.lists(st.integers(-9, 999), max_size=3)
    | st.dictionaries(st.text(max_size=2), st.just("v,"), max_size=2),
    min_size=1,
    max_size=12,
)


def leaves(value):
    match value:
        case list():
            return sum(map(leaves, value))
        case dict():
            return len(value) + sum(map(leaves, value.values()))
        case _:
            return int(not isinstance(value, str) or len(value) < 32)


@given(WORDS)
@settings(max_examples=15)
def test_a_body_has_too_many_texts_and_numbers_where_more_than_are_allowed_stand_in_it(words):
    value = words * 3000
    body, there = msgspec.msgpack.encode(value), leaves(value)
    of = partial(has_too_many, body, is_msgpack=True, most=len(body) - 1)
    assert not of(leaves_max=there)
    assert not there or of(leaves_max=there - 1)
    body = msgspec.json.encode(value)
    of = partial(has_too_many, body, is_msgpack=False, most=len(body) - 1)
    assert not of(leaves_max=there + count(value) + len(value))
    # One of each container is not counted, nor are those of the last search.
    assert len(value) <= 4096 or of(leaves_max=len(value) - 1 - 4096)


@pytest.mark.parametrize(
    ("body", "is_msgpack"),
    [
        (b"[" * 400_000 + b'"' + b'\\"' * 1_000_000, False),
        (b'["' + b"\\" * 8_000_001, False),
        (b"\x01" * 4_000_000 + b"\xc6\x00\x10\x00\x00" + b"\x80" * 2**20, True),
        (b"\xd9\x01\x80" * 4_000_000, True),
        (b"\xa1\x80" * 4_000_000, True),
        (b"\xdd\xff\xff\xff\xff" * 1_000_000, True),
        (b"1," * 4095 + b'"' + b'\\",' * 1_000_000, False),
        (b"1" * 2_000_000 + b"," * 1_000_000, False),
    ],
    ids=[
        "no end of a text",
        "backslashes",
        "numbers",
        "long texts",
        "short texts",
        "long lists",
        "commas in a text without an end",
        "a number without an end",
    ],
)
def test_a_body_that_was_made_to_be_dear_is_looked_at_in_one_pass(body, is_msgpack):
    # What tried each place anew would not end in this test's life.
    assert has_too_many(body, is_msgpack=is_msgpack, leaves_max=999_000) in {True, False}
