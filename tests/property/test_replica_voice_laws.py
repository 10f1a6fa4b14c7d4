"""Laws of a replica's voice and of its queue: what it tells of itself, when, and by which way; and
that nothing which it heard is lost or changes its place."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import httpx
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_config.stream.announcer import head_at
from sie_core.chain import position_of
from sie_core.replica.events import EntryArrived, Event, HeadAnnounced, RangeArrived, Ticked
from sie_runtime.broker.bus import Bus, BusSettings, Message
from sie_runtime.follower.log_source import LogSource
from sie_runtime.follower.replica_feeds import FeedSettings, ReplicaFeeds
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_runtime.follower.replica_queue import ReplicaQueue
from sie_runtime.follower.replica_reports import ReplicaReports, ReportSettings, _answer
from sie_schemas.entry import to_envelope
from sie_schemas.fleet import Recount, ReplicaReport
from sie_testing.stage.loop import SimulatedLoop
from sie_testing.written_log import WrittenLog

LOG = WrittenLog()
for number in range(5):
    LOG.put("model", f"m{number}", {"text": "x" * 50 * number})
SETTINGS = ReportSettings()
ME = "gateway.g"


class Steady(random.Random):
    """Chance that spreads nothing, so that a time can be told."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Wire:
    """The part of the broker's client, and of the writer's, that a voice needs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.is_connected = True
        self.writer_is_there = True
        self.heard: dict[str, Callable[[Any], Awaitable[None]]] = {}
        self.said: list[tuple[float, str, bytes]] = []
        self.posted: list[tuple[float, bytes]] = []
        self._clock = clock

    async def publish(self, subject: str, data: bytes, **_: Any) -> None:
        self.said.append((self._clock(), subject, data))
        # A moment in which more may happen.
        await asyncio.sleep(0.01)

    async def subscribe(self, subject: str, cb: Callable[[Any], Awaitable[None]]) -> Any:
        self.heard[subject] = cb

        async def unsubscribe() -> None:
            del self.heard[subject]

        return SimpleNamespace(unsubscribe=unsubscribe)

    async def post(self, _path: str, *, content: bytes, headers: Any) -> httpx.Response:
        self.posted.append((self._clock(), content))
        if not self.writer_is_there:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, content=msgspec.json.encode(LOG.head))

    async def ask(self, subject: str, data: bytes = b"", *, by: str = "config") -> list[bytes]:
        """All answers to a question."""
        reply = f"sie.answer.{by}.1.1"
        before = len(self.said)
        raw = SimpleNamespace(subject=subject, data=data, reply=reply, headers={})
        await self.heard[subject](raw)
        return [each for _, where, each in self.said[before:] if where == reply]


class Speaker:
    """A replica that has a position and a voice."""

    def __init__(self, clock: Callable[[], float], files: ReplicaFiles | None = None) -> None:
        self.resolver: Any = SimpleNamespace(position=None, registry=LOG.registries[-1])
        self.told: dict[str, Any] = {"log_id": LOG.log_id, "epoch": 1, "state": "fresh"}
        self.resyncs = 0
        self.events: list[Event] = []
        self.wire = Wire(clock)
        self.bus = Bus(BusSettings(), role="gateway", process_id="g", client=cast(Any, self.wire))
        self.bus._first_connected.set()
        source = LogSource(
            "http://writer", self.bus, timeout_s=1, page_entries=9, client=cast(Any, self.wire)
        )
        shared: Any = {"bus": self.bus, "source": source, "clock": clock, "rng": Steady()}
        self.feeds = ReplicaFeeds(
            FeedSettings(),
            put=lambda event: not self.events.append(event),  # type: ignore[func-returns-value]
            position=lambda: None,
            following=lambda: True,
            **shared,
        )
        self.voice = ReplicaReports(
            SETTINGS,
            self,
            role="gateway",
            process_id="g",
            files=files,
            feeds=self.feeds,
            **shared,
        )

    def report(self, *, leaving: bool) -> ReplicaReport:
        return ReplicaReport(
            role="gateway",
            id="g",
            hash="",
            digest="",
            received=9,
            leaving=leaving,
            **self.told,
        )

    def resync(self) -> None:
        self.resyncs += 1


def in_virtual_time(story: Callable[[SimulatedLoop], Awaitable[None]]) -> None:
    loop = SimulatedLoop(random.Random(1))  # type: ignore[abstract]

    async def live() -> None:
        await story(loop)

    loop.run_until_complete(live())


MOMENTS = st.lists(
    st.tuples(
        st.sampled_from([0.2, 0.9, 1.1, 3.9, 4.1]),
        st.sampled_from(["speaks", "is silent", "is silent", "is away"]),
        st.sampled_from([1, 1, 2]),
        st.sampled_from(["a", "a", "a", "b"]),
        st.sampled_from(["fresh", "fresh", "quarantined", "forked", "halted"]),
        st.booleans(),
    ),
    max_size=9,
)


@given(MOMENTS)
def test_while_the_bus_is_silent_a_report_goes_over_http_soon_if_new_and_at_once_if_stopped(
    moments,
):
    async def story(loop: SimulatedLoop) -> None:
        one = Speaker(loop.time)
        posted_at, posted = float("-inf"), ("", 0, "")
        count = heads = 0
        for pause_s, bus, epoch, log, state, writer_is_there in moments:
            await asyncio.sleep(pause_s)
            one.told = {"log_id": log, "epoch": epoch, "state": state}
            one.wire.is_connected = bus != "is away"
            one.wire.writer_is_there = writer_is_there
            one.feeds._bus_heard_at = loop.time() if bus == "speaks" else None
            before, told = len(one.wire.said), (log, epoch, state)
            at = loop.time() + (0.01 if bus != "is away" else 0)
            await one.voice._say()
            assert len(one.wire.said) - before == (bus != "is away")
            waits_s = SETTINGS.replica_report_http_s
            if told != posted:
                waits_s = waits_s / 4 if state == "fresh" else 0.0
            if bus != "speaks" and at - posted_at >= waits_s:
                count, posted_at, posted = count + 1, at, told
                heads += writer_is_there
                told_there = msgspec.json.decode(one.wire.posted[-1][1], type=ReplicaReport)
                assert (told_there.log_id, told_there.epoch, told_there.state) == told
            assert len(one.wire.posted) == count
            assert one.events == [HeadAnnounced(LOG.head)] * heads

    in_virtual_time(story)


@given(st.lists(st.sampled_from([0.003, 0.02, 0.24, 0.3, 1.0]), min_size=1, max_size=8))
def test_the_newest_position_is_told_within_the_least_pause_however_fast_a_replica_advances(
    pauses,
):
    async def story(loop: SimulatedLoop) -> None:
        one = Speaker(loop.time)
        stopping = asyncio.Event()
        running = asyncio.create_task(one.voice.run(stopping))
        for pause_s in pauses:
            await asyncio.sleep(pause_s)
            one.told["epoch"] += 1
            one.voice.soon()
        await asyncio.sleep(SETTINGS.replica_report_min_s + 0.05)
        times = [at for at, _, _ in one.wire.said]
        last = msgspec.json.decode(one.wire.said[-1][2], type=ReplicaReport)
        assert last.epoch == 1 + len(pauses)
        gaps = [later - at for at, later in pairwise(times)]
        assert all(SETTINGS.replica_report_min_s <= gap <= 2.3 for gap in gaps)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    in_virtual_time(story)


@given(st.booleans(), st.booleans())
def test_who_stops_says_so_once_by_the_way_that_there_is(bus_is_there, writer_is_there):
    async def story(loop: SimulatedLoop) -> None:
        one = Speaker(loop.time)
        one.wire.is_connected, one.wire.writer_is_there = bus_is_there, writer_is_there
        await one.voice.leave()
        told = [each[-1] for each in one.wire.said] + [each[-1] for each in one.wire.posted]
        assert len(told) == 1
        assert msgspec.json.decode(told[0], type=ReplicaReport).leaving
        assert bool(one.wire.said) is bus_is_there

    in_virtual_time(story)


@given(st.sampled_from(["config", "gateway", "worker"]))
def test_a_replica_answers_a_roll_call_at_once_and_does_what_its_writer_says_while_it_listens(by):
    async def story(loop: SimulatedLoop) -> None:
        one = Speaker(loop.time)
        one.resolver.position = position_of(LOG.entries[1])
        async with one.voice.listening():
            await one.wire.ask("sie.config.rollcall")
            [(_, subject, _)] = one.wire.said
            assert subject == f"sie.config.report.{ME}"
            told = await one.wire.ask(f"sie.config.resync.{ME}", by=by)
            assert (len(told), one.resyncs) == ((1, 1) if by == "config" else (0, 0))
            [count] = await one.wire.ask(f"sie.config.recount.{ME}")
            # What is served, and not what is believed of it.
            digest = LOG.registries[-1].recounted()
            assert msgspec.json.decode(count, type=Recount).digest == digest
            assert digest != LOG.entries[1].state_digest
        assert not one.wire.heard

    in_virtual_time(story)


@given(st.sampled_from([None, *range(len(LOG.entries))]))
def test_a_writer_that_asks_for_a_count_is_answered_also_by_a_replica_that_serves_nothing(at):
    async def story(loop: SimulatedLoop) -> None:
        one = Speaker(loop.time)
        one.resolver.position = None if at is None else position_of(LOG.entries[at])
        async with one.voice.listening():
            [count] = await one.wire.ask(f"sie.config.recount.{ME}")
        wanted = 0 if at is None else LOG.entries[at].epoch
        assert msgspec.json.decode(count, type=Recount).epoch == wanted

    in_virtual_time(story)


@given(st.integers(1, 900), st.integers(0, 5), st.integers(0, 400))
def test_a_writer_is_given_as_many_whole_entries_as_fit_or_the_part_of_one_that_it_lacks(
    bytes_max, first, offset
):
    entries = LOG.entries[first:]
    lines = [to_envelope(each) for each in entries]
    told = _answer(entries, offset, bytes_max)
    assert len(told) <= bytes_max
    if offset and lines:
        assert told == lines[0][offset : offset + bytes_max]
        return
    fits = max(
        count
        for count in range(len(lines) + 1)
        if sum(len(line) + 1 for line in lines[:count]) <= bytes_max
    )
    assert told == (b"\n".join(lines[:fits]) if fits or not lines else lines[0][:bytes_max])


def single(events: Iterable[Event]) -> list[Event]:
    """The events, with the entries of a range each by itself."""
    found: list[Event] = []
    for event in events:
        if isinstance(event, RangeArrived):
            found.extend(map(EntryArrived, event.entries))
        else:
            found.append(event)
    return found


EVENTS = st.lists(
    st.sampled_from([*map(EntryArrived, LOG.entries), Ticked(1.0), Ticked(2.0)]), max_size=12
)


@given(EVENTS, st.integers(1, 12), st.integers(0, 3))
async def test_what_a_queue_has_taken_comes_out_once_and_in_order_and_a_run_of_entries_as_one(
    events, most, times
):
    # More than are folded in one turn come in several.
    queue, taken = ReplicaQueue(most + 600 * times), [Ticked(0.0)] * 600 * times
    for event in taken:
        assert queue.offer(event)
    for event in events:
        if queue.offer(event):
            taken.append(event)
    assert len(taken) == min(most, len(events)) + 600 * times
    found: list[Event] = []
    while len(single(found)) < len(taken):
        turn = await queue.take()
        assert 0 < len(single(turn)) <= 500
        for one, other in pairwise(turn):
            assert not (isinstance(one, RangeArrived) and isinstance(other, RangeArrived))
        found += turn
    assert single(found) == taken
    assert not any(isinstance(event, EntryArrived) for event in found)


def feeds_of(loop: SimulatedLoop, position: Callable[[], Any], events: list[Event]) -> ReplicaFeeds:
    """The feeds of a replica whose bus is not there."""
    bus = Bus(BusSettings(), role="gateway", process_id="g")
    return ReplicaFeeds(
        FeedSettings(),
        bus=bus,
        source=LogSource("http://writer", bus, timeout_s=1, page_entries=9),
        put=lambda event: not events.append(event),  # type: ignore[func-returns-value]
        position=position,
        following=lambda: True,
        clock=loop.time,
        rng=Steady(),
    )


@given(st.lists(st.sampled_from([0.0, 0.3, 7.0]), max_size=4), st.booleans())
@settings(max_examples=50)
def test_a_stream_that_cannot_be_had_is_asked_for_ever_less_often_and_at_once_of_a_new_log(
    pauses, is_known
):
    async def story(loop: SimulatedLoop) -> None:
        asked: list[float] = []

        def position() -> Any:
            asked.append(loop.time())
            assert len(asked) < 500
            return position_of(LOG.entries[1]) if is_known else None

        feeds, stopping = feeds_of(loop, position, []), asyncio.Event()
        bus = feeds._bus
        running = asyncio.create_task(feeds.follow_stream(stopping))
        await asyncio.sleep(60)
        # From 0.4 s on, and at last every 5 s; a replica that knows no log waits to be told of one.
        assert len(asked) == (15 if is_known else 1)
        for pause_s in pauses:
            await asyncio.sleep(pause_s)
            before, told_at = len(asked), loop.time()
            feeds.follow_anew()
            await asyncio.sleep(5.1)
            assert len(asked) - before <= 2
            if not is_known:
                assert asked[-1] == told_at
        assert len(bus._on_reconnect) == 1
        stopping.set()
        feeds.follow_anew()
        await running
        # What is over is told of no reconnection.
        assert not bus._on_reconnect

    in_virtual_time(story)


@given(st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_a_bookmark_waits_only_for_entries_of_the_log_that_is_followed(here, there, is_ours):
    other = WrittenLog("another")
    for number in range(5):
        other.put("model", f"m{number}", {})
    head = head_at((LOG if is_ours else other).entries[there], 1)

    async def story(loop: SimulatedLoop) -> None:
        events: list[Event] = []
        feeds = feeds_of(loop, lambda: position_of(LOG.entries[here]), events)
        at = loop.time()
        feeds.hear_bookmarks(Message("s", msgspec.json.encode(head), "", {}, feeds._bus.client))
        told: list[Event] = [Ticked(at)]
        waits = is_ours and there > here
        assert events == (told if waits else [*told, HeadAnnounced(head)])
        await asyncio.sleep(0.2)
        assert events == [*told, HeadAnnounced(head)]

    in_virtual_time(story)
