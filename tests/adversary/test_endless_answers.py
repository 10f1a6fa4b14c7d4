"""Somebody at the writer's address answers without end: packed, in drops, or ever more."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from tests.support.log_world import nowhere

from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.follower.log_source import LogSource, SourceFailed
from sie_runtime.http.bounded_answers import BoundedClient

LINE = b"HTTP/1.1 200 OK\r\n"
HEAD = LINE + b"Content-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TIMEOUT_S = 0.25
FOREVER_S = 60.0
"""Far more than a machine that is busy makes of the time above."""


@contextlib.asynccontextmanager
async def stranger(head: bytes, part: bytes, *, pause_s: float = 0.0) -> AsyncIterator[str]:
    """Answers any request with `head` and then `part` again and again; gives its address."""
    answering: list[asyncio.Task[None]] = []

    def began(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.create_task(answer(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while not reader.at_eof():
                writer.write(part)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await reader.read(1)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(began, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        # The client has left, and each of them sees it.
        await asyncio.gather(*answering)


@contextlib.asynccontextmanager
async def follower_of(url: str, timeout_s: float = TIMEOUT_S) -> AsyncIterator[LogSource]:
    bus = Bus(BusSettings(nats_url=nowhere()), role="gateway", process_id="g1")
    source = LogSource(url, bus, timeout_s=timeout_s, page_entries=10)
    try:
        yield source
    finally:
        await source.close()


ASKED: dict[str, Callable[[LogSource], object]] = {
    "snapshot": lambda source: source.snapshot(),
    "head": lambda source: source.head(None, 0),
    "report": lambda source: source.report(b"{}"),
}


DROPS = {
    "no head but promises": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a head": (LINE + b"X-A: ", b"a"),
    "a chunk's extension": (CHUNKED + b"1;a=", b"a"),
    "a trailer": (CHUNKED + b"1\r\n \r\n0\r\nX-A: ", b"a"),
}


@pytest.mark.parametrize(("head", "part"), DROPS.values(), ids=DROPS)
async def test_an_answer_in_drops_is_over_in_time(head, part) -> None:
    # One fetch is under way at a time: a stranger's once lasted as long as the stranger did.
    async with stranger(head, part, pause_s=0.02) as url, follower_of(url) as source:
        async with asyncio.timeout(FOREVER_S):
            # Ours, or one of httpx's own on a loop that stood still.
            with pytest.raises(SourceFailed, match="Timeout"):
                await source.snapshot()


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_an_answer_in_drops_holds_up_no_follower(asked) -> None:
    async with stranger(HEAD + b"\r\n", b" ", pause_s=0.02) as url, follower_of(url) as source:
        with pytest.raises(SourceFailed, match="Timeout"):
            await asked(source)


async def test_packed_bytes_are_not_unpacked() -> None:
    head = HEAD + b"Content-Encoding: gzip\r\n\r\n"
    async with (
        stranger(head, gzip.compress(b"")) as url,
        follower_of(url, timeout_s=FOREVER_S) as source,
    ):
        with pytest.raises(SourceFailed, match="'gzip', unasked"):
            await source.snapshot()


async def test_no_more_is_held_than_the_bound() -> None:
    client = BoundedClient(body_bytes_max=1_000_000, body_s=FOREVER_S, timeout=FOREVER_S)
    async with stranger(HEAD + b"\r\n", b" " * 65536) as url, client as http:
        with pytest.raises(httpx.TransportError, match="over 1000000 bytes"):
            await http.get(url)
