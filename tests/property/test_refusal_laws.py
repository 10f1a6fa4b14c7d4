"""The law of the audit's bound: of refused attempts the newest stay, however they came."""

import tempfile
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
