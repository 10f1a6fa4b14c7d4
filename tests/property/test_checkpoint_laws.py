"""Laws of the quick start and of what comes back: wherever it begins, the end is the same."""

import math
import sqlite3
import tempfile
from pathlib import Path

import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.property.test_store_laws import COMMANDS, attempt
from tests.support.config_writer import begun_log, new_file

from sie_config.log.checkpoint import start_from
from sie_config.log.key_rows import key_rows_of
from sie_config.log.links import LinkBroken, check_links
from sie_config.log.replay import replay
from sie_config.writer.draft import Draft, Write
from sie_core.apply import apply
from sie_core.chain import position_of
from sie_core.registry import Registry
from sie_schemas import canonical
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Entry, Idempotency
from sie_schemas.errors import SIEError
from sie_testing import strategies

AWKWARD = st.floats(allow_nan=False) | st.integers(-24, 24).flatmap(
    lambda power: st.floats(-9.99, 9.99).map(lambda digits: digits * 10.0**power)
)


@given(st.recursive(strategies.json_values() | AWKWARD, st.lists, max_leaves=6))
@example(-0.0)
@example(1e-7)
@example(123456789012345.6)
@example({"\ue000": 1, "\U00010000": 2, "a": 3})
@example('\x00\x1f\x7f\u2028"\\/')
def test_canonical_bytes_are_those_of_the_reference(value):
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        expected = None
    try:
        actual = canonical.dumps(value)
    except canonical.NotCanonical:
        actual = None
    assert actual == expected


@given(st.integers() | st.sampled_from([math.nan, math.inf, -math.inf, "\ud800"]))
def test_what_the_reference_refuses_is_refused(value):
    try:
        rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        try:
            canonical.dumps(value)
        except canonical.NotCanonical:
            return
        raise AssertionError(f"{value!r} was taken") from None


def snapshot_of(entries: list[Entry]) -> snapshots.Snapshot:
    registry = Registry.EMPTY
    for entry in entries:
        registry = apply(registry, entry)
    rows = [snapshots.encode_row(e.kind, e.key, e.modified_epoch, e.document) for e in registry]
    return snapshots.decode(snapshots.encode(entries[:1], entries[-1], rows))


def drafted(writes) -> Draft:
    draft = begun_log()
    for commands in writes:
        attempt(draft, commands)
    return draft


@given(st.lists(COMMANDS, max_size=10), st.data())
@settings(max_examples=12)
def test_a_start_from_any_checkpoint_ends_where_the_whole_fold_ends(writes, data):
    entries = drafted(writes).entries
    at = data.draw(st.integers(1, len(entries)))
    with tempfile.TemporaryDirectory() as folder:
        file = new_file(Path(folder) / "log.sqlite", entries)
        start = start_from(file.connection, snapshot_of(entries[:at]))
        assert start is not None
        quick = replay(file.verified(position_of(entries[at - 1])), start)
        whole = replay(file.verified())
        file.close()
    assert (quick.registry, quick.last, quick.lineage) == (
        whole.registry,
        whole.last,
        whole.lineage,
    )
    assert (quick.taken_over, quick.damage) == (at, None)


@given(st.integers(0, 5), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=20)
def test_links_hold_exactly_when_no_body_was_touched(row, position, flip):
    entries = begun_log().entries
    row %= len(entries)
    body = bytearray(entries[row].body)
    body[position % len(body)] ^= flip
    with sqlite3.connect(":memory:") as bare:
        bare.execute("CREATE TABLE log (epoch, hash, prev_hash, log_id, body)")
        for number, entry in enumerate(entries):
            stored = bytes(body) if number == row else entry.body
            fields = (entry.epoch, entry.hash, entry.prev_hash, entry.log_id, stored)
            bare.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?)", fields)
        try:
            check_links(bare, len(entries))
        except LinkBroken as broken:
            assert broken.epoch == row + 1
        else:
            raise AssertionError("a changed body went unnoticed")
    bare.close()


@given(st.lists(COMMANDS, min_size=1, max_size=10))
@settings(max_examples=30)
def test_the_rows_of_keys_made_from_entries_are_those_that_were_written(writes):
    draft = begun_log()
    before, begun = draft.registry, len(draft.entries)
    for number, commands in enumerate(writes):
        key = Idempotency(f"key-{number}", f"print-{number}")
        try:
            draft.write(Write("ci", "", "r", tuple(commands), key))
        except SIEError:
            continue
    written = [row for row in draft.keys if row.changed]
    assert key_rows_of(draft.entries[begun:], before) == written
