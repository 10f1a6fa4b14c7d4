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
from sie_runtime.http.bounded_answers import bounding

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
TIMEOUT_S = 0.5


@contextlib.asynccontextmanager
async def stranger(head: bytes, part: bytes, *, pause_s: float = 0.0) -> AsyncIterator[str]:
    """Answers any request with `head` and then `part` again and again; gives its address."""

    answering: list[asyncio.Task[None]] = []

    def began(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.create_task(answer(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head + b"\r\n")
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
async def follower_of(url: str) -> AsyncIterator[LogSource]:
    bus = Bus(BusSettings(nats_url=nowhere()), role="gateway", process_id="g1")
    source = LogSource(url, bus, timeout_s=TIMEOUT_S, page_entries=10)
    try:
        yield source
    finally:
        await source.close()


ASKED: dict[str, Callable[[LogSource], object]] = {
    "snapshot": lambda source: source.snapshot(),
    "head": lambda source: source.head(None, 0),
    "report": lambda source: source.report(b"{}"),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_an_answer_in_drops_holds_up_no_follower(asked) -> None:
    # One fetch is under way at a time: a stranger's once lasted as long as the stranger did.
    async with stranger(HEAD, b" ", pause_s=0.05) as url, follower_of(url) as source:
        with pytest.raises(SourceFailed, match="in drops"):
            await asked(source)


async def test_packed_bytes_are_not_unpacked() -> None:
    head = HEAD + b"Content-Encoding: gzip\r\n"
    async with stranger(head, gzip.compress(b"")) as url, follower_of(url) as source:
        with pytest.raises(SourceFailed, match="'gzip', unasked"):
            await source.snapshot()


async def test_no_more_is_held_than_the_bound() -> None:
    hooks = {"response": [bounding(1_000_000, timeout_s=60)]}
    async with stranger(HEAD, b" " * 65536) as url, httpx.AsyncClient(event_hooks=hooks) as http:
        with pytest.raises(httpx.TransportError, match="over 1000000 bytes"):
            await http.get(url)
