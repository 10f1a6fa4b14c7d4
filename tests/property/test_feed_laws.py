"""Laws of a replica's feed: what it gives is the log from a place on, without a gap, or it ends."""

import asyncio
import random
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any, cast

import httpx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sie_core.chain import Position, position_of
from sie_core.replica.events import (
    EntryArrived,
    Event,
    Fetch,
    FetchFailed,
    FetchSnapshot,
    Gone,
    RangeArrived,
    SnapshotArrived,
)
from sie_runtime.broker.bus import Bus, BusSettings, Message
from sie_runtime.follower.fetcher import Fetcher
from sie_runtime.follower.log_source import LogSource, RangeGone, SourceFailed
from sie_runtime.follower.replica_feeds import FeedSettings, ReplicaFeeds
from sie_runtime.follower.stored_log import StoredLog, _Feed
from sie_runtime.streams.log_stream import entry_subject, stored_subject, stream_name
from sie_runtime.streams.stored import StoredMessage
from sie_schemas.entry import Entry, to_envelope, to_stub
from sie_testing.stage.broker import Broker
from sie_testing.stage.broker_client import BrokerClient
from sie_testing.stage.loop import Host, SimulatedLoop
from sie_testing.stage.network import Network
from sie_testing.written_log import WrittenLog

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


LOGS = [WrittenLog(name) for name in ("one", "two")]
for log in LOGS:
    for number in range(4):
        log.put("pool", f"p{number}", {"number": number})


async def streamed(rng: random.Random, broker: Broker) -> Bus:
    """A bus whose broker has both logs."""
    for each in LOGS:
        name = stream_name(each.log_id)
        said = {"dest": stored_subject(each.log_id)}
        broker.add_stream(name, entry_subject(each.log_id), 1, {}, said)
        stream = broker.streams[name]
        for entry in each.entries:
            stream.messages[entry.epoch] = to_envelope(entry)
            stream.headers[entry.epoch] = {}
            stream.last = entry.epoch
    client = BrokerClient(broker, Host("g"), rng)
    bus = await Bus.connect(BusSettings(), role="gateway", process_id="g", client=cast(Any, client))
    await bus.wait_connected(5)
    return bus


@given(
    places=st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(1, 4)), min_size=1, max_size=3)
)
@settings(max_examples=30)
def test_a_replica_hears_of_each_log_that_it_follows_what_comes_after_its_place_and_at_once(
    places,
):
    rng = random.Random(1)
    loop = SimulatedLoop(rng)  # type: ignore[abstract]

    async def story() -> None:
        bus = await streamed(rng, Broker(loop, Network(rng)))
        heard: list[Event] = []
        here: list[Position | None] = [None]
        feeds = ReplicaFeeds(
            FeedSettings(replica_retry_s=60.0, replica_retry_max_s=60.0),
            bus=bus,
            source=cast(Any, None),
            put=lambda event: not heard.append(event),  # type: ignore[func-returns-value]
            position=lambda: here[0],
            following=lambda: True,
            clock=loop.time,
            rng=rng,
        )
        stopping = asyncio.Event()
        running = asyncio.create_task(feeds.follow_stream(stopping))
        for number, epoch in places:
            await asyncio.sleep(1.0)
            entries = LOGS[number].entries
            here[0] = position_of(entries[epoch - 1])
            heard.clear()
            feeds.follow_anew()
            # Long before the pause after a feed that was lost.
            await asyncio.sleep(1.0)
            assert heard == [EntryArrived(entry) for entry in entries[epoch:]]
        stopping.set()
        feeds.follow_anew()
        await running
        await bus.close()

    loop.run_until_complete(story())


@given(retry_s=st.sampled_from([1.0, 7.0, 60.0]), times=st.integers(2, 6))
@settings(max_examples=12)
def test_a_feed_that_ended_begins_again_after_one_pause_however_often_it_ended(retry_s, times):
    rng = random.Random(1)
    loop = SimulatedLoop(rng)  # type: ignore[abstract]

    async def story() -> None:
        bus = await streamed(rng, Broker(loop, Network(rng)))
        begun: list[float] = []

        def put(event: Event) -> bool:
            begun.append(loop.time())
            return False

        feeds = ReplicaFeeds(
            FeedSettings(replica_retry_s=retry_s, replica_retry_max_s=100 * retry_s),
            bus=bus,
            source=cast(Any, None),
            put=put,
            position=lambda: position_of(LOGS[0].entries[0]),
            following=lambda: True,
            clock=loop.time,
            rng=rng,
        )
        running = asyncio.create_task(feeds.follow_stream(asyncio.Event()))
        await asyncio.sleep(1.3 * retry_s * times)
        running.cancel()
        await asyncio.wait([running])
        await bus.close()
        pauses = [after - before for before, after in pairwise(begun)]
        assert len(pauses) >= times - 1
        assert all(0.7 * retry_s < pause < 1.3 * retry_s for pause in pauses), pauses

    loop.run_until_complete(story())


class Writer(httpx.AsyncBaseTransport):
    """A sie-config that answers every fetch so."""

    def __init__(self, status: int, body: bytes) -> None:
        self._status, self._body = status, body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self._status, content=self._body)


PAGE = 3
EPOCHS = len(LOGS[0].entries)
HELD = st.lists(
    st.sampled_from(["whole", "whole", "whole", "a stub", "noise", "missing"]),
    min_size=EPOCHS,
    max_size=EPOCHS,
)


def led_to(log: WrittenLog, held: list[str], after: int, until: int) -> tuple[Entry, ...] | None:
    """The entries that a stream leads to, at most a page; None where noise is among them."""
    found: list[Entry] = []
    part = held[after : min(until, after + PAGE)]
    for entry, how in zip(log.entries[after:], part, strict=False):
        if how == "missing":
            break
        found.append(entry)
    kinds = part[: len(found)]
    if "a stub" in kinds:
        kinds = kinds[: kinds.index("a stub")]
    return None if "noise" in kinds else tuple(found[: len(kinds)])


def spoil(messages: dict[int, bytes], log: WrittenLog, held: list[str]) -> None:
    """Leave of a stream's messages what it is to hold."""
    for entry, how in zip(log.entries, held, strict=True):
        if how == "missing":
            del messages[entry.epoch]
        elif how != "whole":
            messages[entry.epoch] = to_stub(entry) if how == "a stub" else b"noise"


async def fetched(
    asked: Awaitable[tuple[Entry, ...]],
) -> tuple[Entry, ...] | type[Exception]:
    """The entries of a fetch, or why there are none."""
    try:
        return await asked
    except (RangeGone, SourceFailed) as error:
        return type(error)


@given(
    writer=st.sampled_from(["there", "gone", "away", "away", "a stub"]),
    after=st.integers(0, EPOCHS - 1),
    more=st.integers(1, EPOCHS),
    helds=st.tuples(HELD, HELD | st.just(["missing"] * EPOCHS)),
)
@example(writer="away", after=0, more=1, helds=(["whole"] * EPOCHS, ["missing"] * EPOCHS))
@settings(max_examples=40)
def test_a_fetch_is_what_the_writer_says_or_else_the_page_that_the_stream_leads_to(
    writer, after, more, helds
):
    rng = random.Random(1)
    loop = SimulatedLoop(rng)  # type: ignore[abstract]
    led = led_to(LOGS[0], helds[0], after, after + more) or SourceFailed
    # Where it is gone a snapshot is the way, whatever the stream still has.
    status, lines, expected = {
        "there": (200, map(to_envelope, LOGS[0].entries), tuple(LOGS[0].entries)),
        "gone": (410, (), RangeGone),
        "away": (503, (), led),
        "a stub": (200, map(to_stub, LOGS[0].entries), led),
    }[writer]
    # Of two logs nobody knows which one is followed.
    begun = [place for place, held in enumerate(helds) if held[0] != "missing"]
    first = led_to(LOGS[begun[0]], helds[begun[0]], 0, EPOCHS) if len(begun) == 1 else None

    async def story() -> None:
        broker = Broker(loop, Network(rng))
        bus = await streamed(rng, broker)
        for log, held in zip(LOGS, helds, strict=True):
            spoil(broker.streams[stream_name(log.log_id)].messages, log, held)
        answering = Writer(status, b"".join(line + b"\n" for line in lines))
        client = httpx.AsyncClient(base_url="http://writer", transport=answering)
        source = LogSource("", bus, timeout_s=1, page_entries=PAGE, client=client)
        assert await fetched(source.entries(LOGS[0].log_id, after, after + more)) == expected
        found = await fetched(source.whole_log_from_stream())
        assert found == (SourceFailed if first is None else first)
        await source.close()
        await bus.close()

    loop.run_until_complete(story())


_ANSWERS = st.sampled_from(["given", "given", "gone", "failed"])
_WANTED = st.sampled_from(
    [
        Fetch(0, LOGS[0].log_id, 1, 3),
        FetchSnapshot(0, "boot"),
        FetchSnapshot(0, "the range is gone"),
    ]
)


class Scripted:
    """A source that answers as it is told, from its writer and from the stream."""

    def __init__(self) -> None:
        self.writer = self.stream = "given"

    def _told(self, how: str, whose: str, given: Any) -> Any:
        if how == "gone":
            raise RangeGone
        if how == "failed":
            raise SourceFailed(whose)
        return given

    async def entries(self, log_id: str, after: int, until: int) -> Any:
        assert log_id == LOGS[0].log_id
        return self._told(self.writer, "writer", tuple(LOGS[0].entries[after:until]))

    async def snapshot(self) -> Any:
        # No snapshot lies below a low water.
        return self._told("given" if self.writer == "gone" else self.writer, "writer", _SNAPSHOT)

    async def whole_log_from_stream(self) -> Any:
        return self._told("failed" if self.stream == "gone" else self.stream, "stream", _WHOLE)


_SNAPSHOT, _WHOLE = LOGS[0].snapshot(2), tuple(LOGS[0].entries)


@given(st.lists(st.tuples(_WANTED, _ANSWERS, _ANSWERS), max_size=6))
def test_each_fetch_ends_in_one_event_of_its_own_number_and_a_boot_alone_may_use_the_stream(asked):
    async def story() -> None:
        source, heard = Scripted(), asyncio.Queue[Event]()
        fetcher = Fetcher(cast(Any, source), put=heard.put_nowait)
        running = asyncio.create_task(fetcher.run(asyncio.Event()))
        for number, (command, source.writer, source.stream) in enumerate(asked, 1):
            fetcher.want(replace(command, id=number))
            found = await asyncio.wait_for(heard.get(), 20)
            expected: Event = FetchFailed(number, "writer")
            if isinstance(command, Fetch):
                if source.writer == "given":
                    expected = RangeArrived(number, _WHOLE[command.after : command.until])
                elif source.writer == "gone":
                    expected = Gone(number)
            elif source.writer != "failed":
                expected = SnapshotArrived(number, _SNAPSHOT)
            elif command.reason == "boot" and source.stream == "given":
                expected = RangeArrived(number, _WHOLE)
            assert found == expected
        assert heard.empty()
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(story())
