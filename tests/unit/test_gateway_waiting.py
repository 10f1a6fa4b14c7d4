"""A request that waits: whatever ends it first, ends it."""

import asyncio
import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sie_gateway.request.waiting import ClientGone, Takerless, Waiting, heard
from sie_schemas.errors import Later
from sie_schemas.jobs import JobResult


def result(job_id: str) -> JobResult:
    return JobResult(job_id=job_id, request_id="r", first_item=0, model_revision="m")


async def test_results_come_in_the_order_of_the_jobs_and_the_first_of_a_job_counts():
    waiting = Waiting(60.0)
    complete = waiting.begin(["a", "b"])
    first = result("a")
    waiting.take(result("b"))
    assert not complete.done()
    waiting.take(first)
    waiting.take(result("a"))
    assert [each.job_id for each in await complete] == ["a", "b"]
    assert (await complete)[0] is first


@given(
    st.lists(st.sampled_from("abcxyz"), min_size=1, max_size=20),
    st.lists(st.sampled_from("abcxyz"), max_size=20),
)
async def test_a_run_has_the_first_result_of_each_of_its_own_jobs_whatever_came_before_and_twice(
    first, then
):
    waiting = Waiting(60.0)
    # A request's jobs are numbered by items: by name the tenth comes before the second.
    for jobs, came in (("cab", first), ("zxy", then)):
        complete = waiting.begin(list(jobs))
        taken: dict[str, JobResult] = {}
        for job_id in came:
            # Another run's results are not given to this one.
            if job_id in jobs:
                one = result(job_id)
                if set(taken) != set(jobs):
                    taken.setdefault(job_id, one)
                waiting.take(one)
        assert complete.done() == (set(taken) == set(jobs))
        if complete.done():
            got = complete.result()
            assert len(got) == len(jobs)
            assert all(one is taken[job_id] for one, job_id in zip(got, jobs, strict=True))
    waiting.close()


async def test_after_the_brokers_no_what_came_meanwhile_counts():
    waiting = Waiting(60.0)
    complete = waiting.begin(["a", "b"])
    waiting.take(result("a"))
    heard(complete, Later("no leader"))
    with pytest.raises(Later):
        await complete
    second = waiting.again()
    # The same word on another job of the first attempt.
    heard(complete, Later("no leader"))
    waiting.take(result("b"))
    assert [each.job_id for each in await second] == ["a", "b"]


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
async def test_an_attempt_is_complete_with_the_last_result_whichever_attempt_it_came_in(
    first, between
):
    """Also where the last one came before the broker's no was heard: nothing else would tell."""
    waiting = Waiting(60.0)
    complete = waiting.begin(["a", "b", "c"])
    for job_id in first:
        waiting.take(result(job_id))
    heard(complete, Later("no leader"))
    for job_id in between:
        waiting.take(result(job_id))
    second = waiting.again()
    assert second.done() is ({*first, *between} == {*"abc"})
    waiting.close()


@pytest.mark.parametrize("end", ["expires", "leaves", "goes on"])
async def test_what_ends_a_request_ends_its_pause(end):
    left = asyncio.Event()

    async def until_gone() -> None:
        await left.wait()

    waiting = Waiting(60.0, until_gone)
    loop = asyncio.get_running_loop()
    if end == "expires":
        loop.call_soon(waiting.expire)
    elif end == "leaves":
        waiting.attend()
        loop.call_soon(left.set)
    is_over = asyncio.Event()

    async def change() -> None:
        try:
            await asyncio.sleep(0 if end == "goes on" else 60)
        finally:
            is_over.set()

    if end == "goes on":
        await waiting.pause(change(), timeout_s=60.0)
    else:
        with pytest.raises(TimeoutError if end == "expires" else ClientGone):
            await waiting.pause(change(), timeout_s=60.0)
    # Nobody waits for the change any more.
    await asyncio.wait_for(is_over.wait(), 60)
    waiting.close()


async def test_who_was_turned_away_or_answered_waits_anew_and_its_client_is_watched_no_more():
    never = asyncio.Event()
    watched = asyncio.Event()

    async def until_gone() -> None:
        try:
            await never.wait()
        finally:
            watched.set()

    waiting = Waiting(60.0, until_gone)
    waiting.attend()
    complete = waiting.begin(["a"])
    waiting.turn_away()
    with pytest.raises(Takerless):
        await complete
    # What turned one run away says nothing of the next one.
    second = waiting.begin(["b"])
    waiting.take(result("b"))
    assert [each.job_id for each in await second] == ["b"]
    await asyncio.sleep(0)
    waiting.close()
    await asyncio.wait_for(watched.wait(), 60)


@pytest.mark.parametrize("between", [True, False])
async def test_what_ends_a_request_ends_every_run_of_it(between):
    left = asyncio.Event()

    async def until_gone() -> None:
        await left.wait()

    for end, error in ((Waiting.expire, TimeoutError), (Waiting.attend, ClientGone)):
        waiting = Waiting(60.0, until_gone)
        complete = waiting.begin(["a"])
        if between:
            waiting.take(result("a"))
            await complete
        left.set()
        end(waiting)
        if not between:
            with pytest.raises(error):
                await asyncio.wait_for(complete, 60)
        elif waiting._watcher is not None:
            await asyncio.wait([waiting._watcher])
        with pytest.raises(error):
            waiting.begin(["b"])
        # The other end comes too late to change what the request is told.
        waiting.expire()
        waiting.attend()
        assert waiting._watcher is not None
        await asyncio.wait([waiting._watcher])
        with pytest.raises(error):
            waiting.begin(["b"])
        waiting.close()


async def test_an_error_that_comes_when_nobody_waits_is_nobodys():
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    waiting = Waiting(60.0)
    heard(waiting.begin(["a"]), Later("full"))
    waiting.close()
    del waiting
    gc.collect()
    assert complaints == []
