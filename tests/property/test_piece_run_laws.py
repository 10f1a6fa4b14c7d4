"""Laws of a list in pieces: each answer is its own piece's, and nothing is left running."""

import asyncio
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_sdk.wire.call import Call
from sie_sdk.wire.piece_runs import in_tasks, in_threads

TRACE: ContextVar[str] = ContextVar("TRACE", default="")
DRAWN = {
    "count": st.integers(1, 9),
    "at_once": st.integers(1, 4),
    "failing": st.none() | st.integers(0, 8),
    "read": st.none() | st.integers(1, 9),
}
"""`failing` is the number of the piece that fails, `read` how many answers are read."""


class Failed(Exception):
    """The piece fails."""


class Service:
    """Answers with the path of each call, and notes how many it has at a time."""

    def __init__(self, failing: int | None) -> None:
        self.failing = failing
        self.running = self.most = self.begun = 0
        self.contexts: set[str] = set()
        self.threads: set[int] = set()
        self._lock = threading.Lock()

    def begin(self, call: Call) -> None:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
            self.contexts.add(TRACE.get())
            self.threads.add(threading.get_ident())

    def end(self, call: Call) -> dict[str, Any]:
        with self._lock:
            self.running -= 1
        if call.path == str(self.failing):
            raise Failed
        return {"path": call.path}

    def blocking(self, call: Call) -> dict[str, Any]:
        self.begin(call)
        return self.end(call)

    async def awaited(self, call: Call) -> dict[str, Any]:
        self.begin(call)
        try:
            # Those that came later are ready sooner.
            for _ in range(20 - int(call.path)):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.running -= 1
            raise
        return self.end(call)


def calls_of(count: int) -> dict[int, Call]:
    """Some pieces of a longer list: those that are asked for again keep their numbers."""
    return {2 * number: Call("POST", str(number)) for number in range(count)}


@given(**DRAWN)
@settings(deadline=None, max_examples=40)
async def test_pieces_in_tasks_are_answered_under_their_numbers_few_at_a_time(
    count, at_once, failing, read
):
    service, found = Service(failing), dict[int, dict[str, Any]]()
    TRACE.set("caller")
    given_up = in_tasks(service.awaited, calls_of(count), at_once)
    fails = failing is not None and failing < count
    try:
        async for index, told in given_up:
            assert index not in found
            found[index] = told
            if len(found) == read:
                break
        else:
            assert not fails
    except Failed:
        assert fails
    await given_up.aclose()
    assert all(told == {"path": str(index // 2)} for index, told in found.items())
    assert fails or len(found) == min(count, read or count)
    assert service.most <= at_once and service.contexts <= {"caller"}
    # Neither after an error nor when nobody reads on does another one begin.
    assert service.running == 0
    # Some may have ended together with the last one that was read, and others begun for them.
    assert service.begun <= len(found) + fails + 2 * at_once
    begun = service.begun
    for _ in range(30):
        await asyncio.sleep(0)
    assert service.begun == begun
    assert fails or read is not None or service.most == min(count, at_once)


@given(**DRAWN)
@settings(deadline=None, max_examples=20)
def test_pieces_in_threads_are_answered_under_their_numbers_few_at_a_time(
    count, at_once, failing, read
):
    service, found = Service(failing), dict[int, dict[str, Any]]()
    TRACE.set("caller")
    given_up = in_threads(service.blocking, calls_of(count), at_once)
    fails = failing is not None and failing < count
    with suppress(*[Failed] * fails):
        for index, told in given_up:
            assert index not in found
            found[index] = told
            if len(found) == read:
                break
    given_up.close()
    assert all(told == {"path": str(index // 2)} for index, told in found.items())
    assert fails or len(found) == min(count, read or count)
    assert len(service.threads) <= at_once and service.contexts <= {"caller"}
    assert service.running == 0


class Piece(Call):
    """A call that can be seen to be let go."""


class Pieces(Mapping[int, Call]):
    """Pieces that nobody holds but who is to ask them. `let_go`: one of them never will be."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._ends: dict[str, weakref.finalize[[], Call]] = {}
        self.let_go = threading.Event()

    def __getitem__(self, number: int) -> Call:
        piece = Piece("POST", str(number))
        self._ends[piece.path] = weakref.finalize(piece, self.let_go.set)
        return piece

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._count))

    def __len__(self) -> int:
        return self._count

    def begun(self, piece: Call) -> None:
        """It has been asked: that it ends says nothing."""
        self._ends[piece.path].detach()


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize(("read", "fails"), [(0, True), (2, True), (1, False), (3, False)])
def test_after_an_error_or_when_nobody_reads_on_the_rest_in_threads_is_never_asked(
    at_once: int, read: int, fails: bool
) -> None:
    """A piece that has begun waits until the rest is given up, so that it cannot outrun that."""
    pieces, begun = Pieces(read + fails + at_once + 2), list[int]()

    def answered(call: Call) -> dict[str, Any]:
        pieces.begun(call)
        begun.append(int(call.path))
        if fails and begun[-1] == read:
            raise Failed
        if int(call.path) >= read:
            pieces.let_go.wait(5)
        return {}

    given_up = in_threads(answered, pieces, at_once)
    with suppress(*[Failed] * fails):
        for _ in range(read + fails):
            next(given_up)
    given_up.close()
    assert len(begun) <= read + fails + at_once
