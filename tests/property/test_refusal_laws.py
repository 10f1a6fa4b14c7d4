"""Laws of refused attempts: of too many the newest stay, and alike are those that failed alike."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sie_config.past.refusals import Refusals

ROWS_MAX = 4
MINUTE_US = 60_000_000


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=10))
@settings(max_examples=20)
async def test_what_is_kept_are_the_newest_rows_in_the_order_in_which_they_came(came):
    now = [0]
    with tempfile.TemporaryDirectory() as folder:
        refusals = Refusals(
            Path(folder, "refused.sqlite"),
            now_us=lambda: now[0],
            rows_max=ROWS_MAX,
            rows_per_minute=10,
        )
        noted = []
        for number, (minutes, flushed) in enumerate(came):
            now[0] += minutes * MINUTE_US
            noted.append(f"/v1/{number}")
            refusals.note(
                actor="guest",
                outcome="FORBIDDEN",
                status=403,
                method="PUT",
                path=noted[-1],
                kind="",
                key="",
                reason="",
                message="no",
                request_id="r",
            )
            if flushed:
                await refusals.flush()

        rows = await refusals.newest_first("1", (), before_us=2**62, limit=100)
        await refusals.close()

    assert [row.path for row in rows] == noted[::-1][:ROWS_MAX]


IDENTITIES = [
    ("ann", "FORBIDDEN", "PUT", "/v1/a"),
    ("bob", "FORBIDDEN", "PUT", "/v1/a"),
    ("ann", "NOT_FOUND", "PUT", "/v1/a"),
    ("ann", "FORBIDDEN", "DELETE", "/v1/a"),
    ("ann", "FORBIDDEN", "PUT", "/v1/b"),
]
"""Each differs from the first in one part."""
THEN = ["goes on", "is flushed", "starts again"]
ATTEMPTS = st.sampled_from([THEN, THEN[:2]]).flatmap(
    lambda then: st.lists(
        st.tuples(st.sampled_from(IDENTITIES), st.integers(-3, 40), st.sampled_from(then)),
        max_size=12,
    )
)


@given(ATTEMPTS)
@settings(max_examples=20)
async def test_each_attempt_is_counted_with_those_alike_whatever_the_clock_and_restarts(attempts):
    now = [10]
    counts: Counter[tuple[str, ...]] = Counter()
    with tempfile.TemporaryDirectory() as folder:

        def opened() -> Refusals:
            path = Path(folder, "refused.sqlite")
            return Refusals(path, now_us=lambda: now[0], rows_max=99, rows_per_minute=99)

        refusals = opened()
        for name, pause, then in attempts:
            now[0] = max(0, now[0] + pause)
            counts.update(noted(refusals, [name]))
            if then == "is flushed":
                await refusals.flush()
            elif then == "starts again":
                await refusals.close()
                refusals = opened()
        rows = await refusals.newest_first("1", (), before_us=2**62, limit=100)
        await refusals.close()

    found: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        found[row.actor, row.outcome, row.method, row.path] += row.count
    assert found == counts
    # All of it is within a minute; only a process that starts again begins new rows.
    if not any(each[-1] == "starts again" for each in attempts):
        assert len(rows) == len(counts)


class Disk:
    """A file of refused attempts that can be made to take no rows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mend(self) -> None:
        """Make its folder."""
        self.path.parent.mkdir(exist_ok=True)

    def turns(self, what: str) -> None:
        """From now on each write fails, or none does; the file is read all the same."""
        if what == "is mended":
            self.mend()
        if self.has_table() and what != "goes on":
            self._run("DROP TRIGGER IF EXISTS no")
        if self.has_table() and what == "fails":
            self._run(
                "CREATE TRIGGER no BEFORE INSERT ON refused BEGIN SELECT RAISE(ABORT, ''); END"
            )

    def has_table(self) -> bool:
        """True once somebody wrote to it."""
        return self.path.exists() and bool(
            self._run("SELECT name FROM sqlite_schema WHERE name = 'refused'")
        )

    def counts(self) -> Counter[tuple[str, ...]]:
        """The attempts of each kind that are on it."""
        found: Counter[tuple[str, ...]] = Counter()
        if self.has_table():
            for *name, count in self._run(
                "SELECT actor, outcome, method, path, count FROM refused"
            ):
                found[tuple(name)] += count
        return found

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement).fetchall()


NOTES = st.lists(st.sampled_from(IDENTITIES), max_size=3)
FLUSHES = st.lists(
    st.tuples(
        st.sampled_from(["fails", "fails", "is mended", "goes on"]),
        st.integers(0, 40),
        NOTES,
        st.integers(0, 6),
        NOTES,
        st.booleans(),
    ),
    max_size=6,
)
"""The disk's turn; seconds that pass; attempts before a flush; how far it goes till others come,
and these; whether it is left there, as by a request whose client has gone."""


# Others come while what came before is being written: they wait for the next flush.
@example([("goes on", 0, IDENTITIES[:1], turns, IDENTITIES[:1], False) for turns in range(7)], True)
# The last flush comes while one that was left still fails to open the file.
@example([("goes on", 0, IDENTITIES[:1], turns, [], True) for turns in range(6)], False)
@given(FLUSHES, st.booleans())
@settings(max_examples=20)
async def test_what_is_on_disk_and_what_waits_for_it_is_all_that_was_refused(flushes, has_folder):
    now = [10]
    counts: Counter[tuple[str, ...]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as ending:
            disk = Disk(Path(folder, "data", "refused.sqlite"))
            if has_folder:
                disk.mend()
            refusals = Refusals(disk.path, now_us=lambda: now[0], rows_max=99, rows_per_minute=99)
            # Also where it fails: its thread would hold up the end of all tests.
            ending.push_async_callback(refusals.close)
            for what, pause_s, before, turns, meanwhile, is_left in flushes:
                now[0] += pause_s * 1_000_000
                disk.turns(what)
                counts.update(noted(refusals, before))
                flush = asyncio.create_task(refusals.flush())
                for _ in range(turns):
                    await asyncio.sleep(0)
                counts.update(noted(refusals, meanwhile))
                if is_left:
                    flush.cancel()
                await asyncio.wait([flush])
                there = disk.counts().total() + refusals.unwritten
                # Whoever left did not hear that it was written.
                assert there >= counts.total() if flush.cancelled() else there == counts.total()
            disk.turns("is mended")
            await refusals.close()
            assert refusals.unwritten == 0
            assert disk.counts() == counts


def noted(refusals: Refusals, names: list[tuple[str, str, str, str]]) -> Counter[tuple[str, ...]]:
    for actor, outcome, method, path in names:
        refusals.note(
            actor=actor,
            outcome=outcome,
            status=403,
            method=method,
            path=path,
            kind="",
            key="",
            reason="",
            message="no",
            request_id="r",
        )
    return Counter(names)


@given(names=st.integers(0, 9), most=st.integers(1, 5), long=st.sampled_from([0, 299, 300, 5000]))
@settings(max_examples=20)
async def test_a_minute_takes_so_many_rows_of_bounded_texts_and_counts_the_others(
    names, most, long
):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "refused.sqlite")
        refusals = Refusals(path, now_us=lambda: 10, rows_max=99, rows_per_minute=most)
        for number in range(names):
            text = f"{number}{'x' * long}"
            refusals.note(
                **dict.fromkeys(("actor", "method", "path", "key", "reason"), text),
                **dict.fromkeys(("message", "request_id"), text),
                kind="model",
                outcome="FORBIDDEN",
                status=403,
            )
        rows = await refusals.newest_first("1", (), before_us=2**62, limit=100)
        await refusals.close()

    own = [row for row in rows if row.actor != "(others)"]
    assert len(own) == min(names, most)
    assert sum(row.count for row in rows) == names
    assert len(rows) - len(own) == (names > most)
    texts = [text for row in rows for text in row.row().values() if isinstance(text, str)]
    assert all(len(text) <= 300 for text in texts)
