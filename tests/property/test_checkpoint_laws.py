"""Laws of the quick start and of what comes back: wherever it begins, the end is the same."""

import math
import sqlite3
import tempfile
from pathlib import Path

import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.property.test_store_laws import COMMANDS, attempt
from tests.support.config_writer import begun_log, new_file, put_model

from sie_config.log.checkpoint import start_from
from sie_config.log.key_rows import key_rows_of
from sie_config.log.links import LinkBroken, check_links
from sie_config.log.replay import replay
from sie_config.writer.draft import Draft, Write
from sie_config.writer.rules import Command, Delete
from sie_core.apply import apply
from sie_core.chain import is_of_lineage, position_of
from sie_core.registry import Registry
from sie_schemas import canonical
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import GENESIS_HASH, Entry, Idempotency, entry_hash, put_key
from sie_schemas.errors import SIEError
from sie_schemas.snapshot import Snapshot
from sie_testing import strategies
from sie_testing.signing import STRANGER

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
    return snapshots.decode(snapshots.encode(filter(is_of_lineage, entries), entries[-1], rows))


def drafted(writes) -> Draft:
    draft = begun_log()
    for commands in writes:
        attempt(draft, commands)
    return draft


WRONG = st.sampled_from(["an entity less", "a document", "no lineage", "more lineage", "entry"])


@given(writes=st.lists(COMMANDS, min_size=1, max_size=6), wrong=WRONG)
@settings(max_examples=25)
def test_no_start_is_made_from_a_checkpoint_that_is_wrong_in_one_part(writes, wrong):
    entries = drafted(writes).entries
    true = snapshot_of(entries)
    rows = list(true.entities)
    lineage, entry = list(true.lineage), true.entry
    match wrong:
        case "an entity less":
            rows.pop()
        case "a document":
            rows[-1] = structs.replace(rows[-1], modified_epoch=rows[-1].modified_epoch - 1)
        case "no lineage":
            lineage = []
        case "more lineage":
            lineage.append(entries[-1])
        case _:
            entry = structs.replace(entry, hash="f" * 64)
    said = Snapshot(tuple(lineage), entry, tuple(rows))
    with tempfile.TemporaryDirectory() as folder:
        file = new_file(Path(folder) / "log.sqlite", entries)
        try:
            assert start_from(file.connection, true) is not None
            assert start_from(file.connection, said) is None, wrong
        finally:
            file.close()


@given(st.lists(COMMANDS, max_size=10), st.data())
@settings(max_examples=12)
def test_a_start_from_any_checkpoint_ends_where_the_whole_fold_ends(writes, data):
    draft = drafted(writes)
    # A key that comes later is of no checkpoint before it.
    draft.begin([put_key(STRANGER.document)], actor="sie-config", reason="a new key")
    entries = draft.entries
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


FAULTS = st.sampled_from(["none", "gone", "another body", "another row"])


@given(
    logs=st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=8),
    fault=FAULTS,
    row=st.integers(0, 7),
)
def test_links_name_each_begin_of_a_log_and_the_first_row_that_does_not_hang_on_the_others(
    logs, fault, row
):
    """Of the last row another one hangs there as well: whoever asks knows the hash of the end."""
    row %= len(logs) - 1
    rows: list[list[object]] = []
    last = GENESIS_HASH
    for number, log_id in enumerate(logs, start=1):
        body = f"{log_id}.{number}".encode()
        rows.append([number, entry_hash(body), last, log_id, body])
        last = entry_hash(body)
    begins = [
        (number, rows[number - 1][1])
        for number, log_id in enumerate(logs, start=1)
        if number == 1 or log_id != logs[number - 2]
    ]
    match fault:
        case "gone":
            del rows[row]
        case "another body":
            rows[row][4] = b"x"
        case "another row":
            rows[row][4], rows[row][1] = b"x", entry_hash(b"x")
    with sqlite3.connect(":memory:") as bare:
        bare.execute("CREATE TABLE log (epoch, hash, prev_hash, log_id, body)")
        bare.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)
        try:
            links = check_links(bare, len(logs))
        except LinkBroken as broken:
            wanted = {"gone": row + 1, "another body": row + 1, "another row": row + 2}
            assert broken.epoch == wanted[fault]
        else:
            assert fault == "none"
            assert (links.epoch, links.hash, list(links.begins)) == (len(logs), last, begins)
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


KEYED = st.lists(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from(["org/a", "org/b"]), st.integers(0, 2)),
        min_size=1,
        max_size=3,
    ),
    max_size=8,
)


@given(KEYED)
@settings(max_examples=40)
def test_a_key_whose_entry_comes_back_says_as_before_whether_something_was_created(writes):
    """Of few models, so that each is made, changed, removed and made again."""
    draft = begun_log()
    before, begun = draft.registry, len(draft.entries)
    wanted: list[bool] = []
    for number, changes in enumerate(writes):
        there = {each.key for each in draft.registry.of_kind("model")}
        created = False
        commands: list[Command] = []
        for is_put, model_id, served in changes:
            if is_put:
                commands.append(put_model(model_id, description=str(served)))
                created = created or model_id not in there
                there.add(model_id)
            else:
                commands.append(Delete("model", model_id))
                there.discard(model_id)
        key = Idempotency(f"key-{number}", f"print-{number}")
        count = len(draft.entries)
        try:
            draft.write(Write("ci", "", "r", tuple(commands), key))
        except SIEError:
            continue
        if len(draft.entries) > count:
            wanted.append(created)
    assert [row.created for row in key_rows_of(draft.entries[begun:], before)] == wanted
