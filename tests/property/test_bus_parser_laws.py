"""Laws of the broker's bytes: however they are cut, the messages are the library's own."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from sie_runtime.broker.direct_client import DirectClient
from sie_runtime.broker.direct_parser import DirectParser, headers_of

Read = tuple[Any, ...]

_TOKENS = st.text("abcXYZ019_-$>", min_size=1, max_size=12).map(str.encode)
_HEADERS = st.sampled_from(
    [b"NATS/1.0\r\nNats-Msg-Id: a.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0\r\n\r\n"]
)


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    subject, number, data = draw(_TOKENS), draw(st.integers(1, 3)), draw(st.binary(max_size=40))
    reply = draw(st.just(b"") | _TOKENS.map(lambda token: token + b" "))
    if draw(st.booleans()):
        return b"MSG %s %d %s%d\r\n%s\r\n" % (subject, number, reply, len(data), data)
    headers = draw(_HEADERS)
    size = len(headers) + len(data)
    words = (subject, number, reply, len(headers), size, headers, data)
    return b"HMSG %s %d %s%d %d\r\n%s%s\r\n" % words


_LINES = st.sampled_from(
    [b"PING\r\n", b"PONG\r\n", b"+OK\r\n", b"-ERR 'Slow Consumer'\r\n", b'INFO {"a":1} \r\n']
)


class _Client:
    """Notes what a parser tells its client."""

    def __init__(self) -> None:
        self.read: list[Read] = []

    def take(self, number: int, *parts: bytes) -> bool:
        """Takes the messages of subscription 1, and leaves those of others to the library."""
        if number == 1:
            self.read.append((number, *parts))
        return number == 1

    async def _process_msg(self, number: int, *parts: bytes) -> None:
        self.read.append((number, *(part or b"" for part in parts)))

    async def _process_ping(self) -> None:
        self.read.append(("ping",))

    async def _process_pong(self) -> None:
        self.read.append(("pong",))

    async def _process_err(self, error: str) -> None:
        self.read.append(("error", error))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.read.append(("info", *info))


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


async def _fed(parser: Parser, client: _Client, parts: list[bytes]) -> list[Read]:
    for part in parts:
        await parser.parse(part)
    return client.read


@given(st.lists(_messages() | _LINES, max_size=8), st.lists(st.integers(0, 10_000), max_size=8))
def test_messages_are_those_of_the_library_however_the_bytes_are_cut(
    sent: list[bytes], places: list[int]
) -> None:
    data = b"".join(sent)
    ours, theirs = _Client(), _Client()

    async def both() -> None:
        await _fed(Parser(theirs), theirs, [data])
        await _fed(DirectParser(ours, ours.take), ours, _cut(data, places))

    asyncio.run(both())
    assert ours.read == theirs.read
    assert len(ours.read) == len([each for each in sent if each != b"+OK\r\n"])


@given(st.lists(_messages() | _LINES, max_size=8), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_is_taken_where_it_is_read_keeps_its_order_with_the_rest(
    sent: list[bytes], places: list[int]
) -> None:
    data = b"".join(sent)
    ours, theirs = _Client(), _Client()
    parser = DirectParser(ours, ours.take)

    async def both() -> None:
        await _fed(Parser(theirs), theirs, [data])
        for part in _cut(data, places):
            taken = parser.take(part) if parser.idle else 0
            await parser.parse(part[taken:])

    asyncio.run(both())
    assert ours.read == theirs.read


async def test_while_a_message_is_being_read_nothing_overtakes_it() -> None:
    client = _Client()
    parser, may_end = DirectParser(client, client.take), asyncio.Event()
    slow = client._process_msg

    async def process(number: int, *parts: bytes) -> None:
        await may_end.wait()
        await slow(number, *parts)

    vars(client)["_process_msg"] = process
    reading = asyncio.create_task(parser.parse(b"MSG a 2 1\r\nx\r\nMSG b 1 1\r\ny\r\n"))
    await asyncio.sleep(0)
    seen = [parser.idle]
    may_end.set()
    await reading
    seen.append(parser.idle)

    assert seen == [False, True]
    assert [subject for _, subject, *_ in client.read] == [b"a", b"b"]


def test_a_connection_that_was_replaced_leaves_nothing_behind() -> None:
    client = _Client()
    parser = DirectParser(client, client.take)

    async def read() -> None:
        await parser.parse(b"MSG a 1 5\r\nhel")
        parser.reset()
        await parser.parse(b"MSG b 1 2\r\nno\r\n")

    asyncio.run(read())
    assert client.read == [(1, b"b", b"", b"no", b"")]


@pytest.mark.parametrize("line", [b"MSG a\r\n", b"MSG a x 3\r\n", b"HMSG a 1 x 3\r\n", b"WHAT\r\n"])
def test_what_is_no_protocol_is_an_error(line: bytes) -> None:
    client = _Client()
    with pytest.raises(ProtocolError):
        asyncio.run(_fed(DirectParser(client, client.take), client, [line]))


def test_headers_are_read_with_the_status_among_them() -> None:
    raw = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 3\r\nX:  y:z \r\n\r\n"
    assert headers_of(raw) == {"Status": "408", "Nats-Pending-Messages": "3", "X": "y:z"}
    assert headers_of(b"NATS/1.0\r\n\r\n") == {}


@given(
    st.binary(min_size=1, max_size=20).filter(lambda word: not set(word) & set(b" \t\r\n")),
    st.integers(1, 2),
    st.binary(max_size=20),
    st.booleans(),
)
def test_no_byte_of_a_subject_is_another_word_of_its_line(
    subject: bytes, number: int, data: bytes, answered: bool
) -> None:
    client = _Client()
    reply = b"a" + subject if answered else b""
    place = b"%b %d %b" % (subject, number, reply + b" " if answered else b"")
    line = b"MSG %b%d\r\n%b\r\n" % (place, len(data), data)
    asyncio.run(_fed(DirectParser(client, client.take), client, [line]))
    assert client.read == [(number, subject, reply, data, b"")]


@pytest.mark.parametrize("error", [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), IndexError()])
async def test_a_message_that_the_library_cannot_read_is_told_and_the_next_is_read(
    error: Exception,
) -> None:
    class Reading(_Client):
        async def _process_msg(self, number: int, *parts: bytes) -> None:
            if parts[0] == b"bad":
                raise error
            await super()._process_msg(number, *parts)

        async def _error_cb(self, told: Exception) -> None:
            self.read.append(("told", told))

    client = Reading()
    lines = [b"MSG bad 2 2\r\nhi\r\n", b"MSG good 2 2\r\nhi\r\n"]
    await _fed(DirectParser(client, client.take), client, lines)
    assert client.read == [("told", error), (2, b"good", b"", b"hi", b"")]


class _Fed(DirectClient):
    """A client whose messages are noted, those of subscription 1 where they are read."""

    def __init__(self) -> None:
        super().__init__(answers="_ANSWER.test")
        self.read: list[Read] = []
        self._status = self.CONNECTED
        self._takers[1] = lambda *parts: self.read.append((1, *parts))

    async def _process_msg(self, *parts: Any) -> None:
        self.read.append(tuple(part or b"" for part in parts))


@st.composite
def _crafted(draw: st.DrawFn) -> list[bytes]:
    """Messages of which each may hold others in its data, cut where such a one begins or ends."""
    told = draw(st.lists(_messages(), min_size=1, max_size=4))
    number = draw(st.sampled_from([1, 2]))
    data = b"".join(told)
    outer = [b"MSG out %d %d\r\n%s\r\n" % (number, len(data), data), *draw(st.permutations(told))]
    edges = [0]
    for each in outer:
        edges.append(edges[-1] + len(each))
    inner = [edges[0] + outer[0].index(b"\r\n") + 2]
    for each in told:
        inner.append(inner[-1] + len(each))
    whole = b"".join(outer)
    places = draw(st.lists(st.sampled_from([*edges, *inner]) | st.integers(0, len(whole))))
    return _cut(whole, places)


@given(_crafted(), st.lists(st.none() | st.integers(1, 200), min_size=20, max_size=20))
async def test_nothing_is_overtaken_and_no_data_is_read_as_a_message(parts, reads):
    """The reading task comes when it comes, and takes as much as it takes."""
    client, reader = _Fed(), asyncio.StreamReader()
    client._take_at_once(reader)
    for part, size in itertools.zip_longest(parts, reads):
        if part:
            reader.feed_data(part)
        if size and reader._buffer:  # type: ignore[attr-defined]
            await client._parser.parse(await reader.read(size))
    while reader._buffer:  # type: ignore[attr-defined]
        await client._parser.parse(await reader.read(1000))
    plain = _Client()
    await _fed(Parser(plain), plain, [b"".join(parts)])
    assert client.read == plain.read
