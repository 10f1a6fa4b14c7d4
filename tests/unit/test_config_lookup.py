"""The lookup beside the log, and blame over long histories: answers are what the entries say."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from tests.support.config_writer import (
    begun_log,
    client_of,
    grown_log,
    new_file,
    put_model,
    running,
    write,
)
from tests.support.polling import until

from sie_config.log.storage_faults import StorageFailed
from sie_config.past.blame import origins
from sie_config.past.lookup import Lookup, revisions_of
from sie_config.past.origins import Origins, _Pages
from sie_config.past.timeline import Timeline
from sie_config.start.opened_log import LOG_FILE
from sie_config.writer.rules import Delete
from sie_config.writer_process import LOOKUP_FILE
from sie_schemas.entry import Entry
from sie_schemas.revisions import model_revision

CONFIGS = "/v1/configs"


@contextlib.asynccontextmanager
async def looking(folder: Path, entries: Sequence[Entry]) -> AsyncIterator[Lookup]:
    """A lookup over a log of these entries."""
    if not (folder / LOG_FILE).exists():
        new_file(folder / LOG_FILE, entries).close()
    files = folder / LOOKUP_FILE, folder / LOG_FILE
    lookup = Lookup(*files, head=lambda: len(entries), moved=lambda: asyncio.sleep(0))
    try:
        yield lookup
    finally:
        await lookup.close()


async def epochs(lookup: Lookup, actor: str, last: int, **named: Any) -> list[int]:
    asked = {"kind": None, "key": None, "first": 1, "limit": 1000} | named
    return await lookup.epochs_of(actor, last=last, **asked)


WRITES = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]),
        st.lists(
            st.tuples(st.sampled_from(["m", "org/n"]), st.none() | st.integers(1, 2)),
            min_size=1,
            max_size=3,
        ),
    ),
    max_size=6,
)


def profiles(cost: int) -> dict[str, Any]:
    """Two profiles, so that a document has two revisions."""
    return {
        name: {"backend": "transformer", "batch_cost_max": cost + more}
        for more, name in enumerate(("default", "large"))
    }


def grown(writes: Sequence[tuple[str, Sequence[tuple[str, int | None]]]]) -> list[Entry]:
    draft = begun_log()
    for actor, changes in writes:
        here = {each.key for each in draft.registry if each.kind == "model"}
        commands = [
            Delete("model", key) if cost is None else put_model(key, profiles=profiles(cost))
            for key, cost in changes
            if cost is not None or key in here
        ]
        # A batch may not remove what it removed already.
        removed = [each.key for each in commands if isinstance(each, Delete)]
        if commands and len(removed) == len(set(removed)):
            draft.write(write(*commands, actor=actor))
    return draft.entries


@given(WRITES, st.integers(0, 8))
# One revision twice in one entry, and the beginnings of many more.
@example([("ann", [("m", 1), ("m", 2), ("m", 1)])], 0)
@example([("ann", [("org/n", 2), ("m", 2), ("org/n", 1), ("m", 1)])], 0)
@settings(max_examples=15)
def test_the_lookup_finds_what_a_look_at_every_entry_finds(tmp_path_factory, writes, left_out):
    entries = grown(writes)
    last = max(1, len(entries) - left_out)
    seen = [entry for entry in entries if entry.epoch <= last]
    made = [
        (
            model_revision(json.loads(bytes(change.document)), profile),
            entry.epoch,
            ordinal,
            profile,
            change.key,
        )
        for entry in seen
        for ordinal, change in enumerate(entry.changes)
        for profile in ("default", "large")
        if change.entity_kind == "model" and change.document is not UNSET
    ]

    async def story() -> None:
        async with looking(tmp_path_factory.mktemp("log"), entries) as lookup:
            for actor in ("ann", "bob", "sie-config", "nobody"):
                mine = [entry for entry in seen if entry.actor == actor]
                expected = [entry.epoch for entry in reversed(mine)]
                assert await epochs(lookup, actor, last) == expected
                of_n = [e.epoch for e in mine if any(c.key == "org/n" for c in e.changes)]
                found = await epochs(lookup, actor, last, kind="model", key="org/n")
                assert found == of_n[::-1]
            for revision, _, _, _, key in made:
                # Of a short beginning, and of what was put again, the newest.
                for beginning in (revision, revision[:8], revision[:33], revision[:1], ""):
                    alike = [each for each in made if each[0].startswith(beginning)]
                    for of in (alike, [each for each in alike if each[4] == key]):
                        found_at = await lookup.made(
                            beginning, key="" if of is alike else key, until=last
                        )
                        newest = max(each[1:3] for each in of)
                        assert found_at in [each[1:4] for each in of if each[1:3] == newest]
                assert await lookup.made(revision, key="other", until=last) is None

    asyncio.run(story())


async def test_the_lookup_goes_on_where_the_last_process_stopped(tmp_path):
    entries = grown_log(900)
    async with looking(tmp_path, entries) as lookup:
        assert await epochs(lookup, "tester", 450, limit=1) == [450]
    size = (tmp_path / LOOKUP_FILE).stat().st_size
    async with looking(tmp_path, entries) as lookup:
        assert await epochs(lookup, "tester", 903) == [*range(903, 3, -1)]
    assert (tmp_path / LOOKUP_FILE).stat().st_size > size
    async with looking(tmp_path, entries) as lookup:
        await epochs(lookup, "tester", 903)
        connection = lookup._file._connection
        assert connection is not None
        connection.execute("DROP TABLE change")
        # What breaks off while it is in use is made again from the first entry on.
        assert await epochs(lookup, "tester", 903) == [*range(903, 3, -1)]


@pytest.mark.parametrize("bad", ["another log's", "no database", "a newer layout", "a folder"])
async def test_a_lookup_that_is_of_no_use_is_made_again(tmp_path, bad):
    entries = grown([("ann", [("m", 1)]), ("bob", [("m", 2)])])
    path = tmp_path / LOOKUP_FILE
    if bad == "another log's":
        (tmp_path / "other").mkdir()
        async with looking(tmp_path / "other", grown_log(3)) as other:
            await epochs(other, "tester", 5)
        (tmp_path / "other" / LOOKUP_FILE).rename(path)
    elif bad == "a newer layout":
        async with looking(tmp_path, entries) as lookup:
            await epochs(lookup, "ann", 4)
        data = bytearray(path.read_bytes())
        data[60:64] = (9).to_bytes(4, "big")
        path.write_bytes(data)
    elif bad == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"no database" * 1000)
    async with looking(tmp_path, entries) as lookup:
        assert await epochs(lookup, "ann", 5) == [4]
        assert await epochs(lookup, "tester", 5) == []


async def test_what_could_not_be_judged_is_judged_at_the_next_question(tmp_path):
    entries = grown([("ann", [("m", 1)]), ("bob", [("m", 2)])])
    (tmp_path / "other").mkdir()
    async with looking(tmp_path / "other", grown_log(3)) as other:
        await epochs(other, "tester", 5)
    (tmp_path / "other" / LOOKUP_FILE).rename(tmp_path / LOOKUP_FILE)
    async with looking(tmp_path, entries) as lookup:
        (tmp_path / LOG_FILE).rename(tmp_path / "away")
        with pytest.raises(StorageFailed):
            await epochs(lookup, "ann", 5)
        (tmp_path / "away").rename(tmp_path / LOG_FILE)
        assert await epochs(lookup, "ann", 5) == [4]
        assert await epochs(lookup, "tester", 5) == []


async def test_the_lookup_follows_while_nobody_writes(tmp_path):
    async with running(tmp_path, lookup_s=0.01) as plane:
        await plane.write(write(put_model("m"), actor="ann"))
        head = plane.sequencer.position.epoch

        await until(lambda: plane.lookup._file._noted == head)
        assert await epochs(plane.lookup, "ann", head) == [head]


async def test_a_lookup_that_says_what_the_log_does_not_is_found_out(tmp_path):
    entries = grown([("ann", [("m", 1)]), ("ann", [("m", 2)])])
    async with looking(tmp_path, entries) as lookup:
        wrong, _ = next(revisions_of(entries[3].changes[0]))
        await lookup.made(wrong, key="", until=5)
        connection = lookup._file._connection
        assert connection is not None
        connection.execute("UPDATE revision SET epoch = 9 - epoch")
    async with running(tmp_path) as plane, client_of(plane) as client:
        answer = await client.get(f"{CONFIGS}/resolve", params={"revision": wrong})
        assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "LOG_RECOVERY")
        assert "remove that file" in answer.json()["detail"]["message"]


async def test_a_page_of_a_history_never_cuts_an_entry_in_two(tmp_path):
    draft = begun_log()
    for number in range(4):
        draft.write(
            write(
                put_model("m", description=f"{number} first"),
                put_model("other"),
                put_model("m", description=f"{number} second"),
            )
        )
    new_file(tmp_path / LOG_FILE, draft.entries).close()
    async with running(tmp_path) as plane, client_of(plane) as client:
        rows: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            path = f"{CONFIGS}/models/m/history?after={after}&limit=3&diff=true"
            page = (await client.get(path)).json()
            rows += page["history"]
            after = page["next_after"]
    told = [
        operation["value"]
        for row in rows[1:]
        for operation in row["patch"]
        if operation["path"] == "/description"
    ]
    assert [row["epoch"] for row in rows] == [4, 4, 5, 5, 6, 6, 7, 7]
    assert told == [f"{n} {which}" for n in range(4) for which in ("first", "second")][1:]


async def test_blame_over_a_long_history_is_the_same_however_it_was_read(tmp_path):
    draft = begun_log()
    for number in range(1250):
        if number == 600:
            draft.write(write(Delete("model", "m")))
        draft.write(write(put_model("m", description=str(number // 3), aliases=[str(number)])))
    new_file(tmp_path / LOG_FILE, draft.entries).close()
    head = draft.entries[-1].epoch

    async def blamed(known: Origins, at: int) -> dict[str, int]:
        traced = await known.at("model", "m", at)
        return {p: o.epoch for p, _, o in origins(traced)} if traced is not None else {}

    # Pages end at 503 and at 1003.
    moments = [head, 1003, 504, 503, 502, 603, 604, 605, 700, 1002, 1200, head]
    async with running(tmp_path) as plane:
        known = Origins(plane.timeline)
        together = [await blamed(known, at) for at in moments]
        alone = [await blamed(Origins(plane.timeline), at) for at in moments]
        assert await known.at("pool", "m", head) is None
    assert together == alone
    assert together[6] == {}
    assert together[0]["/model_id"] == 605
    assert together[0]["/aliases"] == head
    assert together[5]["/model_id"] == 4


class Changes:
    """Histories of 501 changes each, of whoever is asked for; notes who is read from the first."""

    def __init__(self, document: bytes) -> None:
        self.begun: list[str] = []
        entry = SimpleNamespace(
            ts="t", actor="a", reason="r", forced="f", request_id="i", hash="h", epoch=0
        )
        self._steps = [
            SimpleNamespace(
                entry=SimpleNamespace(**vars(entry) | {"epoch": epoch}), document=document
            )
            for epoch in range(1, 502)
        ]

    async def steps(
        self, kind: str, key: str, *, after: int, until: int, limit: int
    ) -> Sequence[Any]:
        self.begun += [key] if not after else []
        return self._steps[after:until][:limit]


@pytest.mark.parametrize(("size", "kept"), [(10, 64), (5 * 2**20, 3), (17 * 2**20, 0)])
async def test_of_blame_the_pages_of_those_asked_for_last_are_kept_within_bounds(size, kept):
    changes = Changes(b'{"a":"' + b"x" * size + b'"}')
    known = Origins(cast("Timeline", changes))
    names = [str(number) for number in range(kept + 1)]
    for name in names[:kept]:
        await known.at("model", name, 501)
    # Who was asked for again is not the one that leaves.
    await known.at("model", names[0], 501)
    await known.at("model", names[kept], 501)
    del changes.begun[:]
    for name in (names[0], names[kept], names[min(1, kept)]):
        traced = await known.at("model", name, 501)
        assert traced is not None
        [(_, _, origin)] = origins(traced)
        told = (origin.epoch, origin.actor, origin.reason, origin.forced, origin.request_id)
        assert told == (1, "a", "r", "f", "i")
    assert changes.begun == ([names[1]] if kept else ["0"] * 3)


@given(late=st.integers(1, 12), ends_at=st.integers(3, 30))
@settings(max_examples=10, deadline=None)
async def test_the_lookup_lets_writes_go_first_until_it_is_too_far_behind(
    tmp_path_factory, late, ends_at
):
    """A question first notes whatever is missing: without a bound it would take minutes."""
    folder, stop = tmp_path_factory.mktemp("log"), asyncio.Event()
    new_file(folder / LOG_FILE, grown_log(ends_at - 3)).close()
    behind: list[int] = []

    def head() -> int:
        # Each look finds the log an entry further: nobody rests.
        epoch: int = min(len(behind) + 1, ends_at)
        behind.append(epoch - lookup._file._noted)
        return epoch

    lookup = Lookup(folder / LOOKUP_FILE, folder / LOG_FILE, head=head, moved=stop.wait, late=late)
    following = asyncio.create_task(lookup.run(stop, every_s=0))
    await until(lambda: lookup._file._noted == ends_at)
    stop.set()
    await following
    await lookup.close()
    assert max(behind) <= late + 1, "it waits for the writes to end"
    assert max(behind) == min(late + 1, ends_at), "it does not wait for them"


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(0, 10))
def test_pages_that_two_readers_found_at_once_are_in_order_and_each_is_kept_once(added, asked):
    """One that is out of order would be taken for the state of another epoch."""
    pages = _Pages()
    for epoch in added:
        pages.add(epoch, None)
    assert pages.epochs == sorted(set(pages.epochs)) and set(pages.epochs) <= set(added)
    found, _ = pages.before(asked)
    assert found == max((epoch for epoch in pages.epochs if epoch <= asked), default=0)
