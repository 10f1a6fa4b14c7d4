"""Laws of the log file and of the draft: what is appended, in any grouping, is what is read."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.config_writer import (
    NOW_US,
    TENURE,
    begun_log,
    grown_log,
    new_file,
    put_model,
    write,
)

from sie_config.documents.moments import format_ts, parse_ts
from sie_config.log.journal import Journal
from sie_config.log.log_file import LogFile
from sie_config.log.replay import replay
from sie_config.log.storage_faults import LogDamaged
from sie_config.writer.draft import Draft
from sie_config.writer.rules import Command, Delete, Index
from sie_core.chain import check_successor, position_of
from sie_schemas.entry import Change, put
from sie_schemas.errors import SIEError

NAMES = st.sampled_from(["a", "b/c", "d", "e/f"])
COMMANDS = st.lists(
    st.one_of(
        st.builds(
            put_model,
            NAMES,
            description=st.text(max_size=20).filter(lambda t: t.isprintable()),
            aliases=st.lists(NAMES, max_size=2),
        ),
        st.builds(lambda key: Delete("model", key), NAMES),
    ),
    min_size=1,
    max_size=3,
)


def attempt(draft: Draft, commands: Sequence[Command]) -> bool:
    try:
        draft.write(write(*commands))
    except SIEError:
        return False
    return True


@given(st.lists(COMMANDS, max_size=12), st.data())
@settings(max_examples=12)
def test_any_grouping_of_commits_reads_back_as_the_same_verified_chain(writes, data):
    draft = begun_log()
    for commands in writes:
        attempt(draft, commands)
    entries = draft.entries
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.sqlite"
        start = 0
        while start < len(entries):
            size = data.draw(st.integers(1, len(entries) - start))
            file = LogFile.open(path)
            file.append(entries[start : start + size])
            file.close()
            start += size
        file = LogFile.open(path)
        replayed = replay(file.verified())
        assert replayed.damage is None
        assert replayed.last == entries[-1]
        assert replayed.registry == draft.registry
        assert list(file.verified()) == entries
        file.close()


@given(st.lists(COMMANDS, max_size=15))
def test_the_index_of_the_rules_equals_one_made_anew_after_any_writes(writes):
    draft = begun_log()
    for commands in writes:
        before = (draft.last, draft.registry.digest, len(draft.entries))
        if not attempt(draft, commands):
            assert (draft.last, draft.registry.digest, len(draft.entries)) == before
        anew = Index.of(draft.registry)
        assert draft._index.aliases == anew.aliases
        assert draft._index.backends == anew.backends


@given(st.lists(COMMANDS, max_size=12))
def test_every_admitted_entry_follows_the_one_before_and_time_never_stands_still(writes):
    draft = begun_log()
    for commands in writes:
        attempt(draft, commands)
    for before, entry in zip(draft.entries, draft.entries[1:], strict=False):
        check_successor(position_of(before), entry)
        assert entry.ts > before.ts


@given(COMMANDS)
def test_a_write_that_was_just_done_changes_nothing_the_second_time(commands):
    puts = [command for command in commands if not isinstance(command, Delete)]
    draft = begun_log()
    if not puts or not attempt(draft, puts[-1:]):
        return
    last = draft.last
    assert not draft.write(write(puts[-1])).changed
    assert draft.last == last


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_time_of_an_entry_reads_back_and_sorts_as_text(microseconds):
    text = format_ts(microseconds)
    assert parse_ts(text) == microseconds
    assert len(text) == 27
    assert format_ts(microseconds + 1) > text


@given(st.permutations(range(5)), st.integers(0, 4))
@settings(max_examples=15)
def test_entries_go_in_in_order_or_not_at_all(order, start):
    entries = [*begun_log().entries]
    follower = Draft(begun_log().registry, Index(), entries[-1], TENURE, NOW_US)
    for number in range(2):
        follower.begin([put_change(number)], actor="a", reason="")
    entries += follower.entries
    with tempfile.TemporaryDirectory() as folder:
        file = LogFile.open(Path(folder) / "log.sqlite")
        file.append(entries[:start])
        offered = [entries[number] for number in order if number >= start]
        if [e.epoch for e in offered] == list(range(start + 1, 6)):
            file.append(offered)
            assert len(list(file.verified())) == 5
        else:
            with pytest.raises(SIEError) as caught:
                file.append(offered)
            assert isinstance(caught.value.__cause__, sqlite3.Error)
            assert list(file.verified()) == entries[:start]
        file.close()


def put_change(number: int) -> Change:
    return put("pool", f"pool-{number}", {"name": f"pool-{number}"})


JOURNAL = grown_log(7)
HEAD = len(JOURNAL)
BAD = 6
"""The entry whose body is another one, in the damaged file."""
_EPOCHS = st.integers(0, HEAD + 1)


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A log file, and the same with one entry damaged."""
    paths = [tmp_path_factory.mktemp(name) / "log.sqlite" for name in ("whole", "damaged")]
    for path in paths:
        new_file(path, JOURNAL).close()
    with closing(sqlite3.connect(paths[1])) as connection, connection:
        for (trigger,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(
            "UPDATE log SET body = (SELECT body FROM log WHERE epoch = 3) WHERE epoch = ?", (BAD,)
        )
    return paths[0], paths[1]


@given(
    is_damaged=st.booleans(),
    kept=st.integers(1, 5),
    noted=st.tuples(_EPOCHS, _EPOCHS, _EPOCHS).map(sorted),
    asked=st.lists(st.tuples(_EPOCHS, _EPOCHS, st.integers(0, HEAD + 1)), min_size=1, max_size=8),
)
@settings(max_examples=40)
def test_a_journal_gives_the_entries_that_are_asked_for_from_memory_where_it_has_them(
    journals, is_damaged, kept, noted, asked
):
    first, middle, last = noted

    async def story() -> None:
        journal = await Journal.open(journals[is_damaged], tail_entries=kept)
        try:
            journal.remember(JOURNAL[first:middle])
            journal.remember(JOURNAL[middle:last])
            tail = range(max(first, min(last, HEAD) - kept) + 1, min(last, HEAD) + 1)
            for after, until, limit in asked:
                wanted = range(after + 1, min(until, after + limit) + 1)
                is_kept = bool(wanted) and wanted[0] in tail and wanted[-1] in tail
                before = journal.reads
                if is_damaged and BAD in wanted and not is_kept:
                    with pytest.raises(LogDamaged, match="could not be read back"):
                        await journal.page(after, until, limit)
                else:
                    found = await journal.page(after, until, limit)
                    assert found == [each for each in JOURNAL if each.epoch in wanted]
                assert journal.reads == before + (bool(wanted) and not is_kept)
                if not is_damaged:
                    found = [each for each in JOURNAL if each.epoch == until]
                    assert await journal.entry(until) == next(iter(found), None)
        finally:
            await journal.close()

    asyncio.run(story())
