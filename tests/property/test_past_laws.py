"""Laws of the past: it is what was folded then and what was noted then, in pages of any length."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from itertools import accumulate, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from tests.support.config_writer import begun_log, new_file, put_model, write

from sie_config.documents.moments import parse_ts
from sie_config.log.listing import check_listing
from sie_config.log.storage_faults import LogDamaged
from sie_config.past.audit import ACCEPTED, REFUSED, AuditQuery, read_audit, timeline_row
from sie_config.past.lookup import Lookup
from sie_config.past.refusals import Refusals
from sie_config.past.timeline import Timeline
from sie_config.writer.rules import Delete
from sie_config.writer.sequencer import Sequencer
from sie_core.registry import Registry
from sie_schemas.entry import Entry, delete, put
from sie_schemas.errors import FixRequest

KEYS = ("a", "org/b", "org/c")
COSTS = st.none() | st.integers(1, 2)
CHANGES = st.lists(st.tuples(st.sampled_from(KEYS), COSTS), min_size=1, max_size=4) | st.lists(
    st.tuples(st.just("a"), COSTS), min_size=2, max_size=4
)
"""A batch may name an entity twice, and what it says last holds."""
LOGS = st.lists(st.tuples(st.sampled_from(["ann", "bob"]), CHANGES), max_size=5)
LIMIT = st.integers(1, 3)


def grown(batches: Sequence[Any]) -> tuple[list[Entry], dict[int, Registry]]:
    """The entries of a log, and the registry at each epoch that a batch made."""
    draft = begun_log()
    states = {draft.entries[-1].epoch: draft.registry}
    for actor, changes in batches:
        here = {each.key for each in draft.registry if each.kind == "model"}
        commands: list[Any] = []
        removed: set[str] = set()
        for key, cost in changes:
            if cost is not None:
                profile = {"backend": "transformer", "batch_cost_max": cost}
                commands.append(put_model(key, profiles={"default": profile}))
            elif key in here and key not in removed:
                removed.add(key)
                commands.append(Delete("model", key))
        if commands:
            draft.write(write(*commands, actor=actor))
            states[draft.entries[-1].epoch] = draft.registry
    return draft.entries, states


def with_timeline(
    folder: Path,
    entries: list[Entry],
    registry: Registry,
    story: Callable[[Timeline, Sequencer], Coroutine[Any, Any, None]],
    near_max: int = 1000,
) -> None:
    """A story over the past of a log. Below 0, `near_max` has the index asked what changed."""
    path = folder / "log.sqlite"
    if not path.exists():
        new_file(path, entries).close()
    place = SimpleNamespace(epoch=entries[-1].epoch)
    told = SimpleNamespace(position=place, last=entries[-1], registry=registry)

    async def run() -> None:
        sequencer = cast("Sequencer", told)
        timeline = Timeline(
            path, sequencer, registries_max=1, now_us=lambda: 2**60, near_max=near_max
        )
        try:
            await story(timeline, sequencer)
        finally:
            await timeline.close()

    asyncio.run(run())


@given(batches=LOGS, limit=LIMIT, data=st.data())
@settings(max_examples=15)
def test_at_every_epoch_each_look_at_the_past_sees_what_was_folded_then(
    tmp_path_factory, batches, limit, data
):
    entries, states = grown(batches)
    epoch = data.draw(st.sampled_from(sorted(states)))
    after = data.draw(st.integers(0, epoch))
    near_max = data.draw(st.sampled_from([1000, -1]))
    other = data.draw(st.sampled_from(sorted(states)))
    then = states[epoch]
    ids = [("model", key) for key in KEYS]

    async def story(timeline: Timeline, _: Sequencer) -> None:
        for at in (epoch, other, epoch):
            past = await timeline.past(at)
            assert (past.entry.epoch, past.registry.digest) == (at, states[at].digest)
            assert len(timeline._past) <= 1, "no more registries are kept than may be"
        found_by_parts = [
            each async for part in timeline.pages("model", epoch, limit=limit) for each in part
        ]
        assert found_by_parts == then.of_kind("model")[:limit]
        assert [await timeline.entity(*each, epoch) for each in ids] == [
            then.get(*each) for each in ids
        ]
        assert await timeline.states(ids, epoch) == Registry.of(then.of_kind("model"))
        paged, last = [], ""
        while page := await timeline.page("model", epoch, after=last, limit=limit):
            assert page[0].key > last
            paged += page
            last = page[-1].key
        assert paged == then.of_kind("model")

        changed = {
            (change.entity_kind, change.key)
            for entry in entries
            for change in entry.changes
            if after < entry.epoch <= epoch and change.entity_kind != "key"
        }
        touched, place = [], ("", "")
        while found := await timeline.touched(after, epoch, after=place, limit=limit):
            assert found[0] > place
            touched += found
            place = found[-1]
        assert touched == sorted(each for each in changed if each[0] in {"model", "bundle", "pool"})

        for key in KEYS:
            steps, place_at = [], after
            while page_of := await timeline.steps(
                "model", key, after=place_at, until=epoch, limit=limit
            ):
                assert page_of[0].entry.epoch > place_at
                steps += [(step.entry.epoch, step.document) for step in page_of]
                place_at = page_of[-1].entry.epoch
            assert steps == [
                (entry.epoch, None if change.document is UNSET else bytes(change.document))
                for entry in entries
                for change in entry.changes
                if change.key == key and after < entry.epoch <= epoch
            ]

    folder = tmp_path_factory.mktemp("log")
    with_timeline(folder, entries, states[entries[-1].epoch], story, near_max)


def test_digits_name_the_epoch_that_they_say_however_many_they_are(tmp_path):
    entries, states = grown([])
    head = entries[-1].epoch
    numbers = [*range(head + 2), *(10**power + 1 for power in range(1, 40))]

    async def story(timeline: Timeline, _: Sequencer) -> None:
        for noughts, number in product(range(40), numbers):
            text = "0" * noughts + str(number)
            if 1 <= number <= head:
                assert await timeline.epoch_at(text) == number
            else:
                with pytest.raises(FixRequest, match=f"epochs are 1 to {head}"):
                    await timeline.epoch_at(text)

    with_timeline(tmp_path, entries, states[head], story)


def unlocked(connection: sqlite3.Connection) -> None:
    """A log file that lets itself be changed, as a damaged page does."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    for (trigger,) in connection.execute(sql).fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")


def test_a_registry_of_many_parts_is_whole_and_one_with_a_row_too_few_is_never_believed(tmp_path):
    draft = begun_log()
    names = [f"p{number:04}" for number in range(405)]
    draft.begin([put("pool", name, {"name": name}) for name in names], actor="w", reason="")
    draft.begin([put("pool", "after", {"name": "after"})], actor="w", reason="")
    entries = draft.entries

    async def whole(timeline: Timeline, _: Sequencer) -> None:
        parts = [part async for part in timeline.parts(entries[3])]
        keys = [each.key for part in parts for each in part if each.kind == "pool"]
        assert keys == ["default", *names]
        paged = [part async for part in timeline.pages("pool", 4, limit=403)]
        assert [each.key for part in paged for each in part] == ["default", *names][:403]
        with closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection, connection:
            unlocked(connection)
            connection.execute("DELETE FROM change WHERE entity_key = 'p0007'")

    async def damaged(timeline: Timeline, _: Sequencer) -> None:
        for _turn in range(2):
            with pytest.raises(LogDamaged, match="do not add up"):
                await timeline.past(4)

    with_timeline(tmp_path, entries, draft.registry, whole)
    with_timeline(tmp_path, entries, draft.registry, damaged)


@pytest.mark.parametrize(
    ("damage", "epoch"),
    [
        ("DELETE FROM change WHERE entity_key = 'b'", 4),
        ("DELETE FROM change WHERE epoch = 5", 5),
        ("DELETE FROM change WHERE entity_kind = 'key'", 1),
        ("UPDATE change SET entity_key = 'c' WHERE entity_key = 'b'", 4),
        ("UPDATE change SET kind = 'pool.put' WHERE kind = 'pool.delete'", 5),
        ("INSERT INTO change VALUES ('pool', 'b', 5, 1, 'pool.put')", 5),
        ("", 0),
    ],
)
def test_rows_of_changes_that_are_not_those_of_the_entries_are_found(tmp_path, damage, epoch):
    draft = begun_log()
    draft.begin([put("pool", key, {"name": key}) for key in "ab"], actor="w", reason="")
    draft.begin([delete("pool", "a")], actor="w", reason="")
    path = tmp_path / "log.sqlite"
    new_file(path, draft.entries).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        unlocked(connection)
        connection.execute(damage)
    if not damage:
        check_listing(path, 5)
        return
    with pytest.raises(LogDamaged):
        check_listing(path, 5)
    check_listing(path, epoch - 1)


_OF_SPAN: Final = st.integers(-1, 12)
# One page a row, of entries that each share their moment with a refusal; a span that begins with
# an entry; and more by one actor than a page holds.
_SHARED: Final = {
    "batches": [("ann", [("a", 1)]), ("ann", [("a", 2)])],
    "refused": [(1, "ann", "FORBIDDEN", "a")] * 5,
    "limit": 1,
    "actor": None,
    "outcome": None,
    "named": (None, None),
    "span": (-1, 20),
}


@given(
    batches=LOGS,
    refused=st.lists(
        st.tuples(
            st.integers(1, 3),
            st.sampled_from(["ann", "bob"]),
            st.sampled_from(["FORBIDDEN", "NOT_FOUND"]),
            st.sampled_from(KEYS),
        ),
        max_size=8,
    ),
    limit=LIMIT,
    actor=st.none() | st.just("ann"),
    outcome=st.none() | st.sampled_from([ACCEPTED, REFUSED, "FORBIDDEN", "NOT_FOUND"]),
    named=st.just((None, None))
    | st.tuples(
        st.none() | st.sampled_from(["model", "pool"]),
        st.none() | st.sampled_from(["a", "org/b", "default"]),
    ),
    span=st.just((-1, 20)) | st.tuples(_OF_SPAN, _OF_SPAN),
)
@example(**_SHARED)
@example(**{**_SHARED, "span": (0, 20)})
@example(**{**_SHARED, "actor": "ann", "outcome": ACCEPTED})
@example(**{**_SHARED, "actor": "ann", "named": ("pool", None)})
@example(**{**_SHARED, "named": ("pool", "a")})
@example(**{**_SHARED, "named": ("model", "a")})
@example(**{**_SHARED, "outcome": REFUSED})
@example(**{**_SHARED, "limit": 9})
@settings(max_examples=50)
def test_an_audit_tells_each_row_of_its_span_once_in_pages_of_any_length(
    tmp_path_factory, batches, refused, limit, actor, outcome, named, span
):
    kind, key = named
    entries, states = grown(batches)
    first_us = parse_ts(entries[0].ts)
    # Entries are a microsecond apart, so that refusals fall on the very moments of entries.
    since_us, before_us = first_us + span[0], first_us + span[1]
    moments = accumulate((pause for pause, *_ in refused), initial=first_us - 1)
    next(moments)
    aims = [("model", aim) for *_, aim in refused]
    refused = [(at, who, code) for at, (_, who, code, _) in zip(moments, refused, strict=True)]

    def is_meant(touched: Collection[tuple[str, str]]) -> bool:
        """True if one of these is of the kind and key that are asked for."""
        found = [each for each in touched if kind in {None, each[0]} and key in {None, each[1]}]
        return bool(found) or (kind is None and key is None)

    expected = sorted(
        [
            (parse_ts(each.ts), each.actor, ACCEPTED)
            for each in entries
            if outcome in {None, ACCEPTED}
            and is_meant([(change.entity_kind, change.key) for change in each.changes])
        ]
        + [
            each
            for each, aim in zip(refused, aims, strict=True)
            if outcome in {None, REFUSED, each[2]} and is_meant([aim])
        ]
    )
    expected = [
        each for each in expected if since_us <= each[0] < before_us and actor in {None, each[1]}
    ]
    folder = tmp_path_factory.mktemp("log")

    async def story(timeline: Timeline, sequencer: Sequencer) -> None:
        clock = [0]
        refusals = Refusals(
            folder / "refused.sqlite", now_us=lambda: clock[0], rows_max=99, rows_per_minute=99
        )
        for number, (clock[0], who, code) in enumerate(refused):
            refusals.note(
                actor=who,
                outcome=code,
                status=403,
                method="PUT",
                path=f"/{number}",
                kind=aims[number][0],
                key=aims[number][1],
                reason="",
                message="no",
                request_id="r",
            )
        lookup = Lookup(
            folder / "lookup.sqlite",
            folder / "log.sqlite",
            head=lambda: len(entries),
            moved=lambda: asyncio.sleep(0),
        )
        found: list[tuple[int, str, str]] = []
        query = AuditQuery(
            actor=actor,
            kind=kind,
            key=key,
            outcome=outcome,
            since_us=since_us,
            before_us=before_us,
            limit=limit,
        )
        async with AsyncExitStack() as closed:
            closed.push_async_callback(refusals.close)
            closed.push_async_callback(lookup.close)
            while True:
                page = await read_audit(query, timeline, lookup, refusals, sequencer)
                rows = [(parse_ts(row["ts"]), row["actor"], row["outcome"]) for row in page.rows]
                found += rows
                # An entry and a refusal of one moment are never parted, and make a page longer.
                assert rows[limit:] == [] or rows[limit:][0][0] == rows[limit - 1][0]
                assert len(rows) >= limit or page.next_before is None
                # Whoever is told of a next page finds something there.
                assert rows or query.before_us == before_us
                if page.next_before is None:
                    break
                assert parse_ts(page.next_before) < query.before_us
                query = replace(query, before_us=parse_ts(page.next_before))
        assert sorted(found) == expected
        assert [each[0] for each in found] == sorted((each[0] for each in found), reverse=True)

    with_timeline(folder, entries, states[entries[-1].epoch], story)


@pytest.mark.parametrize("count", [1, 20, 21, 405])
def test_a_row_of_an_entry_counts_all_that_changed_and_names_the_first_of_it(count):
    draft = begun_log()
    names = [f"p{number:04}" for number in range(count)]
    entry = draft.begin([put("pool", name, {"name": name}) for name in names], actor="w", reason="")
    row = timeline_row(entry)
    shown = [{"kind": "pool", "key": name, "verb": "put"} for name in names[:20]]
    assert (row["changed"], row["changes"]) == (count, shown)
    first = timeline_row(draft.entries[0])["changes"]
    assert {"kind": "key.put", "key": "", "verb": "put"} in first, "a signing key is no entity"
