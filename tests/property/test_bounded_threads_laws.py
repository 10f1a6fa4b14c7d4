"""Laws of the device's thread: its work is in order, bounded, and what was cancelled never runs."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_schemas.errors import Later
from sie_server.device.bounded_threads import BoundedThreads

_NAME = "bounded-law"


def _joined() -> None:
    """No thread of these laws is left behind."""
    for thread in threading.enumerate():
        if thread.name.startswith(_NAME):
            thread.join(10)
            assert not thread.is_alive()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 8), st.sets(st.integers(1, 7)), st.booleans())
def test_as_many_wait_as_may_and_all_that_were_not_cancelled_run_in_order(
    queue_max, count, cancelled, closes
):
    ran: list[int] = []
    begun, goes_on = threading.Event(), threading.Event()

    def work(number: int) -> Callable[[], int]:
        def run() -> int:
            begun.set()
            assert goes_on.wait(10)
            ran.append(number)
            return number

        return run

    async def main() -> None:
        device = BoundedThreads(queue_max=queue_max, name=_NAME)
        try:
            told = [asyncio.create_task(device.submit(work(each))) for each in range(count)]
            await asyncio.sleep(0)  # each is submitted, or refused
            assert begun.wait(10)
            taken = range(min(count, queue_max))
            if count >= queue_max:
                with pytest.raises(Later) as refused:
                    await device.submit(work(count))
                assert refused.value.code == "QUEUE_FULL"
            leaving = [each for each in taken if each in cancelled]
            for each in leaving:
                told[each].cancel()
            await asyncio.gather(*(told[each] for each in leaving), return_exceptions=True)
            if closes:
                assert not device.close(), "the first still runs"
                goes_on.set()
                await asyncio.gather(*told, return_exceptions=True)
                assert ran == [0], "what waits is dropped"
                return
            goes_on.set()
            found = await asyncio.gather(*told, return_exceptions=True)
            stay = [each for each in taken if each not in cancelled]
            assert ran == stay
            assert [each for each in found if isinstance(each, int)] == stay
            assert sum(isinstance(each, Later) for each in found) == count - len(taken)
            # There is room again for as many.
            assert await asyncio.gather(
                *(device.submit(work(each)) for each in range(queue_max))
            ) == list(range(queue_max))
            assert device.close(), "nothing runs any more"
        finally:
            goes_on.set()
            device.close()

    asyncio.run(main())
    _joined()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([-5.0, -1.0, 50.0]), min_size=1, max_size=3))
def test_what_is_over_its_time_is_told_as_long_as_it_runs_and_no_longer(times):
    """A due time in the past stands for work that takes long."""
    together, goes_on = threading.Barrier(len(times) + 1), threading.Event()

    def run() -> None:
        together.wait(10)
        assert goes_on.wait(10)

    async def main() -> None:
        device = BoundedThreads(queue_max=9, threads=len(times), name=_NAME)
        try:
            told = [asyncio.create_task(device.submit(run, within_s=each)) for each in times]
            await asyncio.sleep(0)  # each is submitted
            together.wait(10)
            late_s = device.overdue_s()
            goes_on.set()
            await asyncio.gather(*told)
            least = max(0.0, -min(times))
            assert late_s >= least
            assert least or late_s == 0
            assert device.overdue_s() == 0
        finally:
            goes_on.set()
            device.close()

    asyncio.run(main())
    _joined()
