"""The law of reading time: `at` a time is the last entry that was written by then."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.config_writer import (
    NOW_US,
    TENURE,
    begun_log,
    client_of,
    new_file,
    put_model,
    running,
    sign,
    write,
)

from sie_config.documents.moments import format_ts, parse_ts
from sie_config.writer.draft import Draft
from sie_config.writer.rules import Index
from sie_schemas.errors import FixRequest

PAUSES = st.lists(st.integers(0, 3_000_000), min_size=1, max_size=12)
"""Microseconds; of two entries in one the later is a microsecond later."""


@given(PAUSES, st.lists(st.integers(-2_000_000, 40_000_000), min_size=1, max_size=8))
@settings(max_examples=10)
async def test_a_time_names_the_last_entry_at_or_before_it(pauses, asked):
    first = begun_log()
    registry, last, entries, now = first.registry, first.last, [*first.entries], NOW_US
    for number, pause in enumerate(pauses):
        now += pause
        draft = Draft(registry, Index.of(registry), last, TENURE, now)
        draft.write(write(put_model(f"m{number}")))
        entries += sign(draft)
        registry, last = draft.registry, draft.last
    written = [(parse_ts(entry.ts), entry.epoch) for entry in entries]
    assert written == sorted(written)
    with tempfile.TemporaryDirectory() as folder:
        new_file(Path(folder, "log.sqlite"), entries).close()
        async with running(Path(folder)) as plane, client_of(plane):
            for after in (*asked, *(moment - NOW_US for moment, _ in written)):
                moment = NOW_US + after
                wanted = [epoch for at, epoch in written if at <= moment]
                # The tenure of the process that reads is later than all of them.
                try:
                    found = await plane.timeline.epoch_at(format_ts(moment))
                except FixRequest as refused:
                    assert not wanted, refused
                    assert refused.code == "NOT_FOUND"
                else:
                    assert found == wanted[-1]
