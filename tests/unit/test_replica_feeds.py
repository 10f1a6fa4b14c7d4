"""A replica's feeds: their answer to a bookmark, their polls, and what waits for the replica."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any, cast

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.polling import until

from sie_config.stream.announcer import head_at
from sie_core.chain import position_of
from sie_core.replica.events import (
    EntryArrived,
    Event,
    FetchFailed,
    HeadAnnounced,
    RangeArrived,
    Ticked,
)
from sie_runtime.broker.bus import Bus, BusSettings, Message
from sie_runtime.follower.log_source import LogSource
from sie_runtime.follower.replica_feeds import FeedSettings, ReplicaFeeds
from sie_runtime.follower.replica_queue import ReplicaQueue
from sie_schemas.entry import to_envelope
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.written_log import WrittenLog


@pytest.mark.parametrize(("epoch", "waits"), [(1, False), (2, False), (3, True)])
async def test_a_bookmark_waits_for_entries_that_may_still_come_by_themselves(epoch, waits):
    log = WrittenLog()
    for number in range(3):
        log.put("model", f"m{number}", {"number": number})
    here, head = position_of(log.entries[1]), head_at(log.entries[epoch - 1], 1)
    events: list[Event] = []

    def take(event: Event) -> bool:
        events.append(event)
        return True

    bus = Bus(BusSettings(), role="gateway", process_id="g")
    source = LogSource("http://127.0.0.1:1", bus, timeout_s=1, page_entries=10)
    feeds = ReplicaFeeds(
        FeedSettings(replica_grace_s=0.01),
        bus=bus,
        source=source,
        put=take,
        position=lambda: here,
        following=lambda: True,
        clock=lambda: 0.0,
        rng=random.Random(1),
    )

    subject = f"sie.config.head.{head.log_id}"
    feeds.hear_bookmarks(Message(subject, msgspec.json.encode(head), "", {}, bus.client))

    # The time comes with it: a replica that hears bookmarks seldom needs a clock of its own.
    told = [Ticked(0.0)]
    assert events == (told if waits else [*told, HeadAnnounced(head)])
    await until(lambda: events == [*told, HeadAnnounced(head)])
    await source.close()


@given(st.lists(st.binary(max_size=20) | st.none(), max_size=4))
async def test_the_bus_speaks_while_heads_come_and_not_while_garbage_does(heard):
    log = WrittenLog()
    head = msgspec.json.encode(log.head)
    now = [0.0]
    bus = Bus(BusSettings(), role="gateway", process_id="g")
    source = LogSource("http://127.0.0.1:1", bus, timeout_s=1, page_entries=10)
    settings = FeedSettings(replica_bus_silent_s=3.0)
    feeds = ReplicaFeeds(
        settings,
        bus=bus,
        source=source,
        put=lambda _: True,
        position=lambda: None,
        following=lambda: True,
        clock=lambda: now[0],
        rng=random.Random(1),
    )
    last: float | None = None
    for data in heard:
        now[0] += 2.0
        told = head if data is None else data
        feeds.hear_bookmarks(Message("sie.config.head.x", told, "", {}, bus.client))
        last = now[0] if data is None else last
        assert feeds.bus_silent == (last is None or now[0] - last > 3.0)
    await source.close()


@given(sequences=st.lists(st.integers(1, 6), max_size=8), damaged=st.integers(0, 6))
async def test_of_the_stream_only_what_stands_at_its_own_epoch_is_taken(sequences, damaged):
    log = WrittenLog()
    for number in range(5):
        log.put("model", f"m{number}", {"number": number})
    events: list[Event] = []

    def take(event: Event) -> bool:
        events.append(event)
        return True

    bus = Bus(BusSettings(), role="gateway", process_id="g")
    source = LogSource("http://127.0.0.1:1", bus, timeout_s=1, page_entries=10)
    feeds = ReplicaFeeds(
        FeedSettings(),
        bus=bus,
        source=source,
        put=take,
        position=lambda: None,
        following=lambda: True,
        clock=lambda: 0.0,
        rng=random.Random(1),
    )
    for place, sequence in enumerate(sequences, start=1):
        data = to_envelope(log.entries[sequence - 1])
        assert feeds._delta(place, data[1:] if place == damaged else data)

    assert events == [
        EntryArrived(log.entries[sequence - 1])
        for place, sequence in enumerate(sequences, start=1)
        if place == sequence and place != damaged
    ]
    await source.close()


class WriterInVirtualTime:
    """`LogSource`'s part of an HTTP client: a writer with nothing new, or one that is away. Where
    it is `hasty` something differs, and it waits for nothing."""

    def __init__(self, loop: SimulatedLoop, head: bytes | None, *, hasty: bool) -> None:
        self._loop = loop
        self._head = head
        self._hasty = hasty
        self.asked: list[tuple[float, float]] = []
        """The time of each poll, and the seconds that it was to wait."""

    async def get(
        self,
        path: str,
        *,
        params: Mapping[str, str],
        timeout: httpx.Timeout,  # noqa: ASYNC109
    ) -> httpx.Response:
        assert path == "/v1/configs/epoch"
        self.asked.append((self._loop.time(), float(params["wait"])))
        if self._head is None:
            raise httpx.ConnectError("refused")
        await asyncio.sleep(0.001 if self._hasty else float(params["wait"]))
        return httpx.Response(200, content=self._head)


def polls(
    seed: int,
    *,
    bus_speaks: bool,
    writer_there: bool,
    hasty: bool = False,
    follows: bool = True,
) -> list[tuple[float, float]]:
    """The polls of a hundred virtual seconds: seconds since the one before, and their wait."""
    log = WrittenLog()
    loop = SimulatedLoop(random.Random(seed))  # type: ignore[abstract]
    log.put("model", "m", {})
    head = msgspec.json.encode(log.head)
    writer = WriterInVirtualTime(loop, head if writer_there else None, hasty=hasty)

    async def live() -> None:
        bus = Bus(BusSettings(), role="gateway", process_id="g")
        feeds = ReplicaFeeds(
            FeedSettings(replica_poll_s=5.0),
            bus=bus,
            source=LogSource(
                "http://writer", bus, timeout_s=1, page_entries=10, client=cast(Any, writer)
            ),
            put=lambda _: True,
            position=lambda: position_of(log.entries[-1]),
            following=lambda: follows,
            clock=loop.time,
            rng=random.Random(seed),
        )
        told = Message(f"sie.config.head.{log.log_id}", head, "", {}, bus.client)
        stopping = asyncio.Event()
        polling = asyncio.create_task(feeds.poll(stopping))
        while loop.time() < 100:
            if bus_speaks:
                feeds.hear_bookmarks(told)
            await asyncio.sleep(0.5)
        stopping.set()
        await polling

    loop.run_until_complete(live())
    times = [at for at, _ in writer.asked]
    return [
        (later - at, wait)
        for at, later, (_, wait) in zip(times, times[1:], writer.asked[1:], strict=False)
    ]


def test_while_the_bus_speaks_a_replica_polls_rarely_and_waits_for_nothing():
    # The first was sent before a bookmark could come.
    later = polls(1, bus_speaks=True, writer_there=True)[1:]
    assert len(later) >= 15
    assert all(5.0 * 0.75 <= gap <= 5.0 * 1.25 and wait == 0 for gap, wait in later)


def test_while_the_bus_is_silent_each_poll_waits_and_the_next_follows_at_once():
    found = polls(1, bus_speaks=False, writer_there=True)
    assert len(found) >= 4
    assert all(20.0 < gap < 20.5 and wait == 20.0 for gap, wait in found)


def test_polls_of_a_writer_that_is_away_back_off_and_those_of_two_replicas_drift_apart():
    one = [gap for gap, _ in polls(1, bus_speaks=False, writer_there=False)]
    pauses = [min(5.0, 0.2 * 2**failures) for failures in range(1, len(one) + 1)]
    assert pauses[-1] == 5.0
    for gap, pause in zip(one, pauses, strict=True):
        assert pause * 0.75 <= gap <= pause * 1.25
    two = [gap for gap, _ in polls(2, bus_speaks=False, writer_there=False)]
    assert all(left != right for left, right in zip(one, two, strict=False))


@pytest.mark.parametrize("follows", [True, False])
def test_the_same_answer_at_once_again_and_again_is_asked_for_ever_less_often(follows):
    """A replica that is ahead of its writer, or has stopped, differs from it for as long as it is
    so: a long poll waits for nothing then."""
    found = polls(1, bus_speaks=False, writer_there=True, hasty=True, follows=follows)
    assert len(found) < 40
    assert [gap for gap, _ in found][8:] == [pytest.approx(5.0, rel=0.26)] * (len(found) - 8)
    assert {wait for _, wait in found} == {20.0 if follows else 0.0}


@pytest.mark.parametrize(("follows", "most"), [(True, 55), (False, 1010)])
def test_a_replica_looks_at_the_clock_rarely_while_nothing_is_missing_and_soon_else(follows, most):
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]
    told: list[float] = []

    def take(event: Event) -> bool:
        told.append(cast(Ticked, event).now)
        return True

    async def live() -> None:
        bus = Bus(BusSettings(), role="gateway", process_id="g")
        feeds = ReplicaFeeds(
            FeedSettings(),
            bus=bus,
            source=LogSource("http://writer", bus, timeout_s=1, page_entries=10),
            put=take,
            position=lambda: None,
            following=lambda: follows,
            clock=loop.time,
            rng=random.Random(1),
        )
        ticking = asyncio.create_task(feeds.tick(asyncio.Event()))
        await asyncio.sleep(100)
        ticking.cancel()

    loop.run_until_complete(live())
    assert most * 0.9 <= len(told) <= most


async def test_a_queue_takes_what_fits_and_gives_entries_that_came_together_as_one_range():
    log = WrittenLog()
    for number in range(3):
        log.put("model", f"m{number}", {})
    queue, (one, two, three, four) = ReplicaQueue(4), log.entries
    events: list[Event] = [EntryArrived(one), EntryArrived(two), Ticked(1.0), EntryArrived(three)]

    assert [queue.offer(event) for event in [*events, EntryArrived(four)]] == [True] * 4 + [False]
    queue.put(FetchFailed(1, "its answer is never refused"))

    assert await queue.take() == [
        RangeArrived(0, (one, two)),
        Ticked(1.0),
        RangeArrived(0, (three,)),
        FetchFailed(1, "its answer is never refused"),
    ]


async def test_who_waits_at_an_empty_queue_is_woken_once_and_by_the_first():
    queue = ReplicaQueue(4)
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put(Ticked(1.0))
    queue.put(Ticked(2.0))

    assert await taking == [Ticked(1.0), Ticked(2.0)]
