"""Laws of the bytes: canonical JSON, entries, snapshots, arrays, subjects."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from sie_schemas import arrays, canonical, jobs
from sie_schemas.entry import (
    Change,
    EntryCorrupt,
    Idempotency,
    Stub,
    build_entry,
    entry_hash,
    parse_entry,
    parse_envelope,
    to_envelope,
    to_stub,
)
from sie_testing import strategies
from sie_testing.written_log import WrittenLog

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(strategies.json_values())
def test_canonical_bytes_survive_every_accepted_json(value):
    text = canonical.dumps(value)

    assert canonical.dumps(canonical.loads(text)) == text


@given(st.dictionaries(TEXT, strategies.json_values(), max_size=6), st.randoms())
def test_canonical_bytes_do_not_depend_on_the_order_of_keys(mapping, random):
    items = list(mapping.items())
    random.shuffle(items)

    assert canonical.dumps(dict(items)) == canonical.dumps(mapping)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"a": NaN}', "NaN"),
        ("[Infinity]", "Infinity"),
        ("[1e999]", "not finite"),
        ("[9007199254740992.0]", "2^53"),
        ("[-1e20]", "2^53"),
        ("[9007199254740992]", "2^53"),
        ("[" + "9" * 100_000 + "]", "2^53"),
        ("\ufeff{}", "byte order mark"),
        ('{"a": 1, "a": 1}', "'a' appears twice"),
        ('{"x": {"b": 1, "b": 2}}', "'b' appears twice"),
        (r'["\ud800"]', "surrogate"),
        (r'{"\udfff": 1}', "surrogate"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "line 1"),
        (b"\xff", "UTF-8"),
    ],
)
def test_json_that_depends_on_its_reader_is_refused_and_named(text, names):
    with pytest.raises(canonical.NotCanonical, match=names.replace("^", r"\^")):
        canonical.loads(text)


@given(
    actor=TEXT,
    reason=TEXT,
    changes=strategies.change_lists(),
    idempotency=st.none() | st.builds(Idempotency, TEXT, TEXT),
    epoch=st.integers(1, 2**40),
)
def test_a_joined_entry_is_the_canonical_form_of_its_own_json(
    actor, reason, changes, idempotency, epoch
):
    entry = build_entry(
        log_id="a" * 32,
        epoch=epoch,
        term=3,
        writer="w",
        ts="2026-01-01T00:00:00.000001Z",
        actor=actor,
        reason=reason,
        request_id="r",
        changes=changes,
        prev_hash="0" * 64,
        state_digest="1" * 64,
        idempotency=idempotency,
    )

    assert canonical.dumps(json.loads(entry.body)) == entry.body
    assert parse_envelope(to_envelope(entry)) == entry
    assert [(c.kind, c.key) for c in entry.changes] == [(c.kind, c.key) for c in changes]
    assert [_bytes(c) for c in entry.changes] == [_bytes(c) for c in changes]


def _bytes(change: Change) -> bytes:
    return b"" if change.verb == "delete" else bytes(change.document)  # type: ignore[arg-type]


@given(st.data())
def test_a_single_flipped_bit_of_an_entry_is_always_noticed(data):
    log = WrittenLog()
    entry = log.put("model", "m", {"x": 1})
    bit = data.draw(st.integers(0, len(entry.body) * 8 - 1))
    damaged = bytearray(entry.body)
    damaged[bit // 8] ^= 1 << (bit % 8)

    with pytest.raises(EntryCorrupt):
        parse_entry(bytes(damaged), entry.hash)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"hash":"x","body":{}}', b'{"hash":1,"body":{}}', b"\xff\x00"]
)
def test_what_is_no_envelope_is_said_to_be_corrupt(data):
    with pytest.raises(EntryCorrupt):
        parse_envelope(data)


def test_a_body_with_a_right_hash_that_is_no_entry_is_corrupt():
    body = b'{"v":1}'

    with pytest.raises(EntryCorrupt, match="not an entry"):
        parse_entry(body, entry_hash(body))


def test_a_stub_tells_the_position_of_its_entry():
    entry = WrittenLog().put("model", "m", {"x": 1})

    stub = parse_envelope(to_stub(entry))

    assert isinstance(stub, Stub)
    assert (stub.epoch, stub.hash, stub.prev_hash) == (entry.epoch, entry.hash, entry.prev_hash)


@given(
    np_st.arrays(
        st.sampled_from(["<f4", "<f2", "<f8", "<i4", "<u2", "|i1", "|b1"]),
        np_st.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    )
)
def test_an_array_comes_back_bit_for_bit_and_read_only(array):
    import msgspec

    wire = msgspec.msgpack.decode(msgspec.msgpack.encode({"v": [arrays.to_wire(array)]}))

    back = arrays.from_wire(wire)["v"][0]

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert not back.flags.writeable
    lists = arrays.lists_from_wire(wire)["v"][0]
    np.testing.assert_array_equal(np.array(lists, dtype=array.dtype), array.tolist())


@pytest.mark.parametrize(
    "change",
    [
        {b"type": "|O"},
        {b"type": "V8"},
        {b"shape": [3]},
        {b"shape": [1] * 9},
        {b"shape": [-1, -1]},
        {b"shape": "x"},
        {b"data": "text"},
        {b"kind": b"V"},
    ],
)
def test_a_map_that_is_no_array_is_refused(change):
    wire = arrays.to_wire(np.zeros(2, dtype="<f4")) | change

    with pytest.raises(arrays.ArrayMalformed):
        arrays.from_wire(wire)


NAMES = st.from_regex(r"[A-Za-z0-9._/*> -]{1,12}", fullmatch=True)


@given(NAMES, NAMES)
def test_subject_tokens_are_legal_and_injective(left, right):
    assert not set(jobs.token(left)) & set("./*> ")
    assert (jobs.token(left) == jobs.token(right)) == (left == right)


def test_the_largest_integer_is_the_last_that_floats_hold():
    assert math.floor(2**53 - 1) == canonical.INTEGER_MAX
    assert canonical.loads(str(canonical.INTEGER_MAX)) == canonical.INTEGER_MAX
