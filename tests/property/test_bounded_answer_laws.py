"""Laws of answers within bounds: what is held of an answer, and of a stranger's no more."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_sdk.wire.bounded_answers import EVENTS, Held, UnfitAnswer
from sie_sdk.wire.bounded_async import bounding_async
from sie_sdk.wire.bounded_sync import bounding_sync

# An event ends with an empty line, and a part wherever the network cut.
PARTS = st.lists(
    st.sampled_from([b"a", b"\n", b"a\n", b"\na", b"\n\n", b"\n\na\n\n", b"aaa"]), max_size=12
)
ENDS = b"\n\n"


def answer(status: int = 200, *, events: bool = False, **headers: str) -> httpx.Response:
    asked = httpx.Request("GET", "http://host/", extensions=dict(EVENTS) if events else {})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, request=asked)


def held_of(taken: bytes, *, events: bool) -> int:
    """The bytes that whoever reads has not been given whole."""
    return len(taken.rpartition(ENDS)[2]) if events else len(taken)


STREAMS = {"an answer": (False, 200), "events": (True, 200), "a refusal": (True, 403)}


@pytest.mark.parametrize(("events", "status"), STREAMS.values(), ids=STREAMS)
@given(
    parts=PARTS,
    bytes_max=st.integers(4, 8),
    timeout_s=st.none() | st.floats(0, 100),
    says=st.sampled_from(["application/json", "text/event-stream"]),
)
def test_an_answer_is_held_to_its_bound_and_events_each_by_itself(
    events, status, parts, bytes_max, timeout_s, says
):
    """A stream of events is endless, and none of them is. A refusal in its place is an answer, and
    so is what calls itself a stream unasked."""
    told = answer(status, events=events, content_type=says)
    held = Held(told, bytes_max, timeout_s=timeout_s)
    is_stream = events and status == 200
    taken = b""
    for part in parts:
        if held_of(taken, events=is_stream) + len(part) > bytes_max:
            with pytest.raises(UnfitAnswer):
                held.take(part)
            return
        held.take(part)
        taken += part
        if timeout_s is None or is_stream:
            assert held.within_s is None
        else:
            assert held.within_s == pytest.approx(timeout_s + len(taken) / 16_384)


CODINGS = st.sampled_from(["identity", " Identity ", "", "gzip", "br", "GZIP", "identity, gzip"])


@given(CODINGS)
def test_an_answer_that_came_packed_is_refused_whatever_it_is_packed_in(coding):
    told = answer(content_encoding=coding)
    if coding.strip().lower() in {"", "identity"}:
        Held(told, 10, timeout_s=None)
    else:
        with pytest.raises(UnfitAnswer):
            Held(told, 10, timeout_s=None)


class Both(httpx.AsyncByteStream, httpx.SyncByteStream):
    """Parts for either kind of client. The last of an endless one never comes."""

    def __init__(self, parts: list[bytes], *, endless: bool = False) -> None:
        self.parts = parts
        self.endless = endless
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part
        if self.endless:
            await asyncio.Event().wait()

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


@given(parts=PARTS, bytes_max=st.integers(1, 60), is_async=st.booleans())
@settings(deadline=None)
async def test_either_client_gets_the_parts_as_they_came_and_none_beyond_the_bound(
    parts, bytes_max, is_async
):
    stream, told, found = Both(parts), answer(), b""
    told.stream = stream
    is_unfit = False
    try:
        if is_async:
            await bounding_async(bytes_max, timeout_s=None)(told)
            assert isinstance(told.stream, httpx.AsyncByteStream)
            async for part in told.stream:
                found += part
            await told.stream.aclose()
        else:
            bounding_sync(bytes_max, timeout_s=None)(told)
            assert isinstance(told.stream, httpx.SyncByteStream)
            for part in told.stream:
                found += part
            told.stream.close()
        assert stream.is_closed, "its connection goes back to the pool"
    except UnfitAnswer:
        is_unfit = True
    whole = b"".join(parts)
    assert is_unfit is (len(whole) > bytes_max)
    assert whole.startswith(found) and len(found) <= bytes_max
    assert is_unfit or found == whole


async def test_an_answer_whose_time_is_over_is_an_error_of_the_exchange_for_either_client():
    """A second before it began: no machine is slow enough to be in time."""
    told = answer()
    told.stream = Both([b"a"], endless=True)
    await bounding_async(10, timeout_s=-1.0)(told)
    assert isinstance(told.stream, httpx.AsyncByteStream)
    with pytest.raises(httpx.ReadTimeout):
        async for _ in told.stream:
            pass
    late = answer()
    late.stream = Both([b"a"])
    bounding_sync(10, timeout_s=-1.0)(late)
    assert isinstance(late.stream, httpx.SyncByteStream)
    with pytest.raises(httpx.ReadTimeout):
        list(late.stream)
