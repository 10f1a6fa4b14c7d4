"""Laws of what waits: each is told once when its time is over, whoever was taken out meanwhile."""

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from sie_runtime.broker.overdue import Overdue
from sie_testing.stage.loop import SimulatedLoop

AFTER_S = 10.25
"""No step of the story is at the very moment at which something is due."""
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "pop"]), st.integers(0, 9), st.integers(0, 8)),
    max_size=20,
)
"""Something is added or taken out, by its number, so many seconds after the one before."""


@given(STEPS)
def test_each_that_waits_is_told_once_at_its_time_in_order_and_who_left_is_not(steps):
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]
    told: list[tuple[int, float]] = []
    expected: list[tuple[int, float]] = []

    async def story() -> None:
        overdue: Overdue[int, None] = Overdue(
            AFTER_S, lambda key, _: told.append((key, loop.time()))
        )
        waiting: dict[int, float] = {}
        for what, number, pause_s in steps:
            await asyncio.sleep(pause_s + 0.5)
            over = [each for each, due_at in waiting.items() if due_at <= loop.time()]
            expected.extend((each, waiting.pop(each)) for each in over)
            if what == "add" and number not in waiting:
                overdue.add(number, None)
                waiting[number] = loop.time() + AFTER_S
            elif what == "pop":
                overdue.pop(number)
                waiting.pop(number, None)
            assert len(overdue) == len(waiting)
        await asyncio.sleep(2 * AFTER_S)
        expected.extend(waiting.items())
        assert len(overdue) == 0

    loop.run_until_complete(story())
    loop.close()
    assert told == expected
