"""The contract of every broker for the cluster: requests, subscriptions, and feeds of a stream.

*shell.* Each promise is a coroutine over two connections and the hands that disturb the broker.
Nothing here waits for a fixed time. A condition is looked at until it holds or a deadline passes,
and in a simulated broker both are virtual.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sie_runtime.broker.bus import Bus, BusUnavailable, Message, NoResponders
from sie_runtime.follower.stored_log import StoredLog, follow, stored_logs
from sie_runtime.streams.log_stream import (
    LogStream,
    WrongLastSequence,
    log_streams,
    stored_subject,
)
from sie_testing.written_log import WrittenLog

__all__ = ["BROKER_CONTRACT", "BrokerUnderTest"]

_DEADLINE_S: Final = 10.0
"""A real broker that is taken away and given back is found again after a back-off of seconds."""
_LOOK_S: Final = 0.01
"""Short beside any wait of a broker, and long beside a turn of the loop."""


@dataclass(frozen=True, slots=True)
class BrokerUnderTest:
    """Two connections to a broker, and how to take it away and give it back."""

    one: Bus
    other: Bus
    stop: Callable[[], Awaitable[None]]
    start: Callable[[], Awaitable[None]]


Promise = Callable[[BrokerUnderTest], Awaitable[None]]


async def _until(condition: Callable[[], object], what: str) -> None:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + _DEADLINE_S
    while not condition():
        assert loop.time() < ends_at, f"not in time: {what}"
        await asyncio.sleep(_LOOK_S)


@dataclass(slots=True)
class _Feed:
    """A follower of a stream that notes what it hears and how it ended. It has so much room."""

    bus: Bus
    log_id: str
    room: int = 1000
    heard: list[int] = field(default_factory=list)
    why: str = ""
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, start_epoch: int = 1) -> None:
        self.why = await follow(
            self.bus,
            self.log_id,
            start_epoch=start_epoch,
            on_message=self._take,
            stop=self.stop,
        )

    def _take(self, sequence: int, _data: bytes) -> bool:
        if len(self.heard) >= self.room:
            return False
        self.heard.append(sequence)
        return True


async def _stream(under_test: BrokerUnderTest, entries: int) -> tuple[LogStream, str]:
    log_id = WrittenLog().log_id
    stream = LogStream(under_test.one, log_id)
    await stream.ensure(first_epoch=1, metadata={})
    for epoch in range(1, entries + 1):
        await stream.append(epoch, b"%d" % epoch)
    return stream, log_id


async def nobody_answers(under_test: BrokerUnderTest) -> None:
    """A request to nobody is known at once, whatever its deadline."""
    try:
        await under_test.one.request("nobody.home", b"", timeout_s=60)
    except NoResponders:
        return
    raise AssertionError("somebody answered")


async def somebody_answers(under_test: BrokerUnderTest) -> None:
    """A request is answered by whoever listens."""

    async def answer(message: Message) -> None:
        await message.respond(message.data + b"!")

    await under_test.other.subscribe("echo", answer)
    # A subscription takes effect when the broker has it; one round trip behind it tells.
    await under_test.other.request("echo", b"", timeout_s=5)
    assert await under_test.one.request("echo", b"a", timeout_s=5) == b"a!"


async def in_order(under_test: BrokerUnderTest) -> None:
    """Messages of one connection are heard in their order, wildcards and all."""
    heard: list[bytes] = []
    for subject in ("news.>", "news.*", "other.>"):
        await under_test.other.subscribe(subject, lambda message: heard.append(message.data))
    await under_test.other.publish("news.flush", b"flush")
    await _until(lambda: len(heard) == 2, "the first message")
    heard.clear()
    for number in range(20):
        await under_test.one.publish("news.day", b"%d" % number)
    await _until(lambda: len(heard) == 40, "twenty messages on two subscriptions")
    assert sorted(set(heard), key=int) == [b"%d" % number for number in range(20)]
    assert heard.index(b"3") < heard.index(b"4")


async def fed(under_test: BrokerUnderTest) -> None:
    """A feed brings what is there and what comes, once each, from where it is to begin."""
    stream, log_id = await _stream(under_test, 4)
    feed = _Feed(under_test.other, log_id)
    running = asyncio.create_task(feed.run(start_epoch=3))
    await _until(lambda: feed.heard == [3, 4], "what is there")
    await stream.append(5, b"5")
    await _until(lambda: feed.heard == [3, 4, 5], "what comes")
    feed.stop.set()
    await asyncio.wait_for(running, _DEADLINE_S)


async def trimmed_ahead(under_test: BrokerUnderTest) -> None:
    """A feed that begins below a trimmed stream hears a gap, and never another sequence."""
    stream, log_id = await _stream(under_test, 6)
    await stream.trim(4)
    feed = _Feed(under_test.other, log_id)
    running = asyncio.create_task(feed.run(start_epoch=2))
    await _until(lambda: feed.heard == [4, 5, 6], "what is left")
    feed.stop.set()
    await asyncio.wait_for(running, _DEADLINE_S)


async def wiped(under_test: BrokerUnderTest) -> None:
    """A feed outlives its stream: what is stored again is not given again, what is new is."""
    stream, log_id = await _stream(under_test, 2)
    feed = _Feed(under_test.other, log_id)
    running = asyncio.create_task(feed.run())
    await _until(lambda: feed.heard == [1, 2], "what is there")
    await stream.recreate(first_epoch=1, metadata={})
    for epoch in (1, 2, 3):
        await stream.append(epoch, b"%d" % epoch)
    await _until(lambda: feed.heard == [1, 2, 3], "what is new")
    feed.stop.set()
    await asyncio.wait_for(running, _DEADLINE_S)


async def refused_is_not_heard(under_test: BrokerUnderTest) -> None:
    """A feed never hears what the stream refused, nor what somebody says in its place."""
    stream, log_id = await _stream(under_test, 2)
    feed = _Feed(under_test.other, log_id)
    running = asyncio.create_task(feed.run())
    await _until(lambda: feed.heard == [1, 2], "what is there")
    for epoch in (2, 4):
        try:
            await stream.append(epoch, b"refused")
        except WrongLastSequence:
            continue
        raise AssertionError(f"the stream took epoch {epoch}")
    await under_test.one.publish(stored_subject(log_id), b"forged")
    await stream.append(3, b"3")
    await _until(lambda: feed.heard == [1, 2, 3], "what comes")
    feed.stop.set()
    await asyncio.wait_for(running, _DEADLINE_S)


async def read_directly(under_test: BrokerUnderTest) -> None:
    """A replica reads a range of the stream, up to the first message that is not there."""
    stream, log_id = await _stream(under_test, 6)
    log = StoredLog(under_test.other, log_id)
    assert await log.read_range(1, 4) == [b"2", b"3", b"4"]
    assert await log.read_range(4, 99) == [b"5", b"6"]
    assert await log.read_range(6, 99) == []
    await stream.trim(4)
    assert await log.read_range(1, 99) == []
    assert log_id in await stored_logs(under_test.other)
    try:
        await StoredLog(under_test.other, "0" * 32).read_range(0, 9)
    except BusUnavailable:
        return
    raise AssertionError("a stream that is not there was read")


async def too_slow(under_test: BrokerUnderTest) -> None:
    """A feed without room for a message ends and says that it is lost; it never skips silently."""
    _, log_id = await _stream(under_test, 300)
    feed = _Feed(under_test.other, log_id, room=7)
    await asyncio.wait_for(feed.run(), _DEADLINE_S)
    assert feed.why == "lost", feed.why
    assert feed.heard == [1, 2, 3, 4, 5, 6, 7]


async def listed(under_test: BrokerUnderTest) -> None:
    """The broker lists the config streams, with where they begin and end."""
    _, log_id = await _stream(under_test, 3)
    streams = await log_streams(under_test.other)
    assert {name: (tip.first, tip.last) for name, tip in streams.items()} == {log_id: (1, 3)}


async def reconnected(under_test: BrokerUnderTest) -> None:
    """While it is away, everything fails at once; when it is back, old subscriptions hear."""
    stream, _log_id = await _stream(under_test, 2)
    heard: list[bytes] = []
    await under_test.other.subscribe("news", lambda message: heard.append(message.data))
    await under_test.stop()
    await _until(lambda: not under_test.one.connected, "one notices")
    await _until(lambda: not under_test.other.connected, "the other notices")
    for attempt in (under_test.one.publish("news", b"lost"), stream.append(3, b"3")):
        try:
            await attempt
        except BusUnavailable:
            continue
        raise AssertionError("something was sent to a broker that is away")
    await under_test.start()
    await _until(lambda: under_test.one.connected, "one is back")
    await _until(lambda: under_test.other.connected, "the other is back")
    assert await stream.read(2) == b"2"
    await stream.append(3, b"3")
    await _heard_again(under_test, heard)


async def _heard_again(under_test: BrokerUnderTest, heard: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + _DEADLINE_S
    while not heard:
        # The subscription comes back a moment after the connection.
        assert loop.time() < ends_at, "the old subscription hears nothing"
        await under_test.one.publish("news", b"again")
        await asyncio.sleep(_LOOK_S)
    assert set(heard) == {b"again"}


BROKER_CONTRACT: Final[Mapping[str, Promise]] = {
    "a request to nobody is known at once": nobody_answers,
    "a request is answered by whoever listens": somebody_answers,
    "messages of one connection keep their order": in_order,
    "a feed brings what is there and what comes": fed,
    "a feed of a trimmed stream begins where it begins": trimmed_ahead,
    "a feed outlives its stream": wiped,
    "a feed hears nothing that the stream refused": refused_is_not_heard,
    "a stream is read directly": read_directly,
    "a feed that is too slow says so": too_slow,
    "the config streams are listed": listed,
    "a broker that was away is back for everybody": reconnected,
}
