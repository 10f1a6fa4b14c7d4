"""Laws of large results: cut by the worker, put together by the gateway under a budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sie_gateway.request.chunks import Chunks, Misfit, NoRoom
from sie_schemas.jobs import ResultChunk
from sie_worker.forms.chunking import chunks_of

RESULTS = st.dictionaries(
    st.text(min_size=1, max_size=8), st.binary(min_size=1, max_size=300), min_size=1, max_size=6
)


def cut(job_id: str, data: bytes, size: int) -> list[ResultChunk]:
    """Chunks of `size` bytes; the worker leaves room for names in each message."""
    return chunks_of(data, job_id=job_id, bytes_max=1024 + size)


@given(st.binary(min_size=1, max_size=2000), st.integers(1, 400))
def test_chunks_joined_in_order_are_the_result_and_each_is_within_its_size(data, size):
    chunks = cut("job", data, size)
    assert b"".join(chunk.data for chunk in chunks) == data
    assert all(len(chunk.data) <= size for chunk in chunks)
    assert [chunk.index for chunk in chunks] == list(range(chunks[0].count))
    assert {chunk.size for chunk in chunks} == {len(data)}


@given(RESULTS, st.integers(1, 50), st.integers(1, 600), st.data())
def test_results_come_out_whole_whatever_the_order_and_the_repeats_and_the_room_comes_back(
    results, size, bytes_max, data
):
    held = Chunks(bytes_max=bytes_max)
    waiting = {job_id: cut(job_id, value, size) for job_id, value in results.items()}
    whole: dict[str, bytes] = {}
    largest = max(len(value) for value in results.values())
    refused: set[str] = set()
    while waiting:
        # A worker that was refused offers again: somebody else's turn comes first.
        open_jobs = sorted(waiting.keys() - refused) or sorted(waiting)
        job_id = data.draw(st.sampled_from(open_jobs))
        chunk = data.draw(st.sampled_from(waiting[job_id]))
        try:
            taken = held.take(chunk)
        except NoRoom:
            assert held.reserved
            refused.add(job_id)
            continue
        if not data.draw(st.booleans()):
            waiting[job_id].remove(chunk)
        if taken is not None:
            whole[job_id] = taken
            del waiting[job_id]
            refused.clear()
        elif not waiting[job_id]:
            raise AssertionError("every chunk came and the result did not")
        assert held.reserved <= max(bytes_max, largest)
    assert whole == results
    assert held.reserved == 0


@given(st.binary(min_size=2, max_size=100), st.binary(min_size=2, max_size=100))
def test_two_attempts_at_one_job_never_mix(first, second):
    held = Chunks(bytes_max=1000)
    begun, whole = cut("job", first, 1), cut("job", second, 1)
    held.take(begun[0])
    outcomes = [held.take(chunk) for chunk in whole]
    assert outcomes[-1] == second
    assert held.reserved == 0


@given(
    st.binary(min_size=3, max_size=100),
    st.sampled_from(
        [
            {"size": 1},
            {"count": 1},
            {"index": -1},
            {"index": 1000},
            {"data": b"x" * 100},
        ]
    ),
)
def test_a_chunk_that_is_not_of_its_result_is_refused_and_the_result_still_comes(data, change):
    held = Chunks(bytes_max=1000)
    first, *rest = cut("job", data, 1)
    held.take(first)
    with pytest.raises(Misfit):
        held.take(replace(rest[0], **change))
    assert [held.take(chunk) for chunk in rest][-1] == data
    assert held.reserved == 0


@given(st.binary(min_size=2, max_size=100))
def test_a_request_that_ends_gives_its_room_back(data):
    held = Chunks(bytes_max=1000)
    held.take(cut("job", data, 1)[0])
    assert held.reserved == len(data)
    held.forget("job")
    held.forget("job")
    assert held.reserved == 0


@given(st.binary(min_size=2, max_size=40), st.data())
def test_what_is_beside_or_beyond_what_the_first_chunk_said_is_refused(data, draw):
    first, *rest = cut("job", data, draw.draw(st.integers(1, len(data) - 1)))
    held = Chunks(bytes_max=100)
    assert held.take(first) is None
    for wrong in (first.count, first.count + 1, -1):
        with pytest.raises(Misfit):
            held.take(replace(first, index=wrong))
    # One byte more than there may be, whichever chunk brings it.
    room = len(data) - len(first.data)
    with pytest.raises(Misfit):
        held.take(replace(rest[0], data=b"x" * (room + 1)))
    assert held.reserved == len(data)


@given(st.integers(2, 50), st.integers(2, 50))
def test_results_that_fill_the_room_to_the_last_byte_are_taken(one, other):
    held = Chunks(bytes_max=one + other)
    for job_id, size in (("one", one), ("other", other)):
        assert held.take(cut(job_id, b"x" * size, 1)[0]) is None
    with pytest.raises(NoRoom):
        held.take(cut("third", b"xx", 1)[0])
