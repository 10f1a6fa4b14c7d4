"""A wait that is too long is told, in its order, with one timer for all."""

import asyncio

from tests.support.polling import until

from sie_runtime.broker.overdue import Overdue

AFTER_S = 0.02


async def test_what_is_not_taken_out_is_told_once_in_order_and_not_too_soon():
    loop = asyncio.get_running_loop()
    told: list[tuple[int, str, float]] = []
    last = loop.create_future()

    def tell(key: int, value: str) -> None:
        told.append((key, value, loop.time()))
        if key == 9:
            last.set_result(None)

    overdue: Overdue[int, str] = Overdue(AFTER_S, tell)
    began = loop.time()
    for key in range(9):
        overdue.add(key, f"{key}")
    assert [overdue.pop(key) for key in (0, 3, 8)] == ["0", "3", "8"]
    assert overdue.pop(0) is None
    await until(lambda: len(overdue) == 0)
    assert [key for key, _, _ in told] == [1, 2, 4, 5, 6, 7]
    added = loop.time()
    overdue.add(9, "late")
    await asyncio.wait_for(last, 60)
    assert [(key, value) for key, value, _ in told[-1:]] == [(9, "late")]
    assert all(at - began >= AFTER_S for _, _, at in told)
    assert told[-1][2] - added >= AFTER_S
    assert len(overdue) == 0


async def test_the_timer_of_one_that_left_serves_the_next():
    loop = asyncio.get_running_loop()
    told = loop.create_future()
    overdue: Overdue[str, None] = Overdue(AFTER_S, lambda key, _: told.set_result(key))
    overdue.add("gone", None)
    overdue.pop("gone")
    overdue.add("stays", None)
    added = loop.time()
    assert await asyncio.wait_for(told, 60) == "stays"
    assert loop.time() - added >= AFTER_S


async def test_whoever_is_told_may_add_and_take_out():
    done = asyncio.get_running_loop().create_future()

    def tell(key: int, _: None) -> None:
        overdue.pop(key + 1)
        if key == 0:
            overdue.add(7, None)
        else:
            done.set_result(key)

    overdue: Overdue[int, None] = Overdue(AFTER_S, tell)
    overdue.add(0, None)
    overdue.add(1, None)
    assert await asyncio.wait_for(done, 60) == 7
