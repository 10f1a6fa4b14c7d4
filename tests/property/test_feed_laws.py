"""Laws of a replica's feed: what it gives is the log from a place on, without a gap, or it ends."""

import asyncio
import random
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from sie_runtime.broker.bus import Message
from sie_runtime.follower.stored_log import StoredLog, _Feed
from sie_runtime.streams.log_stream import stream_name
from sie_runtime.streams.stored import StoredMessage
from sie_testing.stage.loop import SimulatedLoop

LOG_ID = "a" * 32
STEPS = st.lists(
    st.sampled_from(
        [
            "store and say",
            "store and say",
            "store",
            "say an old one",
            "of another stream",
            "no number",
        ]
    ),
    max_size=10,
)


class Stream:
    """A stream of which a copy shows what it has at once, or a few looks later."""

    def __init__(self, first: int, stored: int, lag: int) -> None:
        self.first = first
        self.last = first + stored - 1
        self._shown = self.last - lag

    async def read_from(self, epoch: int) -> list[StoredMessage]:
        """At most two from an epoch on; each look shows one more than the one before."""
        await asyncio.sleep(0)
        begin = max(epoch, self.first)
        shown = range(begin, min(begin + 2, self._shown + 1))
        self._shown = min(self.last, self._shown + 1)
        return [StoredMessage("s", each, b"%d" % each, {}) for each in shown]


def said(feed: _Feed, sequence: str, *, stream: str = LOG_ID) -> None:
    headers = {"Nats-Stream": stream_name(stream), "Nats-Sequence": sequence}
    feed.hear(Message("s", sequence.encode(), "", headers, cast(Any, None)))


@given(
    stored=st.integers(0, 6),
    start=st.integers(0, 8),
    first=st.integers(1, 3),
    lag=st.integers(0, 3),
    during=STEPS,
    after=STEPS,
    full_at=st.none() | st.integers(1, 9),
)
@settings(deadline=None)
def test_messages_come_once_and_in_order_and_a_feed_that_lost_one_ends(**drawn):
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]
    loop.run_until_complete(fed(**drawn))


def taken(step: str, feed: _Feed, stream: Stream, *, unheard: bool) -> bool:
    """One thing happens; whether the last message is one that nobody heard of."""
    match step:
        case "store and say":
            stream.last += 1
            said(feed, str(stream.last))
            return False
        case "store":
            stream.last += 1
            return True
        case "say an old one":
            said(feed, str(max(1, stream.last - 2)))
        case "of another stream":
            said(feed, str(stream.last + 1), stream="b" * 32)
        case _:
            said(feed, "x")
    return unheard


async def fed(
    *,
    stored: int,
    start: int,
    first: int,
    lag: int,
    during: list[str],
    after: list[str],
    full_at: int | None,
) -> None:
    """One feed, from its beginning to its end."""
    stream = Stream(first, stored, lag)
    came: list[int] = []

    def take(sequence: int, data: bytes) -> bool:
        assert data == b"%d" % sequence
        if sequence == full_at:
            return False
        came.append(sequence)
        return True

    stop = asyncio.Event()
    feed = _Feed(LOG_ID, start, take, stop, None)
    feed.reconnected()
    running = asyncio.create_task(feed.run(cast(StoredLog, stream)))
    # Of the last one nobody hears that a lagging copy lacks, until there is a next one.
    unheard = lag > 0
    for step in [*during, None, *after]:
        if step is None:
            await asyncio.sleep(1.0)
            continue
        unheard = taken(step, feed, stream, unheard=unheard)
        await asyncio.sleep(0)
    await asyncio.sleep(1.0)
    stop.set()
    why = await running

    # A stream may begin later: who applies what comes sees that.
    begin = came[0] if came else max(1, start, first)
    assert begin in {max(1, start), max(1, start, first)}
    assert came == list(range(begin, begin + len(came)))
    # What another stream's message carries is nothing of this log.
    assert not came or came[-1] <= stream.last
    assert why in {"lost", "stopped"}
    if why == "stopped" and not unheard and stream.last >= begin:
        assert came
        assert came[-1] == stream.last
    if full_at is None and not (lag or "store" in [*during, *after] or stored == 0):
        assert why == "stopped"


async def test_a_connection_that_was_made_anew_ends_a_feed_that_had_begun():
    feed = _Feed(LOG_ID, 1, lambda *_: True, asyncio.Event(), None)
    feed.reconnected()
    running = asyncio.create_task(feed.run(cast(StoredLog, Stream(1, 1, 0))))
    await asyncio.sleep(0)
    feed.reconnected()
    assert await running == "reconnected"
