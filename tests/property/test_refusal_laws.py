"""Laws of refused attempts: of too many the newest stay, and alike are those that failed alike."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
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
        for (actor, outcome, method, path), pause, then in attempts:
            now[0] = max(0, now[0] + pause)
            counts[actor, outcome, method, path] += 1
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
