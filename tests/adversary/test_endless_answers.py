"""Somebody at the writer's or the hub's address answers without end, packed or in drops."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import pytest
from huggingface_hub import constants
from tests.support.log_world import nowhere

from sie_cli.config.config_work import run_work
from sie_cli.config.views import audit
from sie_cli.diagnosis.facts import UNANSWERED, Place, gather
from sie_cli.models.hub import open_revision
from sie_cli.supervisor.first_answer import writer_line
from sie_config.offline.access import asked_json
from sie_config.offline.compaction import writers_log_id
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.follower.log_source import LogSource, SourceFailed
from sie_runtime.http.bounded_answers import BoundedClient, ask
from sie_schemas.documents import HubSource
from sie_schemas.errors import FixRequest, Later, TimeRanOut
from sie_sdk import SIEAsyncClient, SIEClient
from sie_sdk.config.async_client import SIEAsyncConfigClient
from sie_sdk.config.client import SIEConfigClient
from sie_server.weights import hub_reach

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
            with pytest.raises(SourceFailed, match="no answer in time"):
                await source.snapshot()


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_an_answer_in_drops_holds_up_no_follower(asked) -> None:
    async with stranger(HEAD + b"\r\n", b" ", pause_s=0.02) as url, follower_of(url) as source:
        with pytest.raises(SourceFailed, match="no answer in time"):
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


ENDLESS = {
    "head in drops": (b"HTTP/1.1 200 OK\r\nX-Word: ", b"a", 0.05),
    "body in drops": (HEAD + b"\r\n", b" ", 0.05),
    "packed": (HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b""), 0.0),
    "moved, with a body": (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b" ", 0.05),
}
"""The words of a stranger, again and again, and the seconds between."""


@pytest.mark.parametrize("told", ENDLESS.values(), ids=ENDLESS)
async def test_nobody_who_adds_a_model_waits_for_a_hub_without_end(told) -> None:
    head, part, pause_s = told
    async with stranger(head, part, pause_s=pause_s) as url:
        with pytest.raises(Later, match="does not answer"):
            await asyncio.to_thread(
                open_revision, "org/a", environ={"HF_ENDPOINT": url}, answer_s=TIMEOUT_S
            )


@pytest.mark.parametrize("told", ENDLESS.values(), ids=ENDLESS)
async def test_the_thread_that_asks_a_hub_ends_with_its_time(told, monkeypatch) -> None:
    # The stranger's own end waits until each client has left.
    head, part, pause_s = told
    source = HubSource(type="hub", id="org/a", revision="1" * 40)
    async with stranger(head, part, pause_s=pause_s) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        asked = asyncio.to_thread(hub_reach.files_of, source, "a token", answer_s=TIMEOUT_S)
        assert await asked is None


@pytest.mark.parametrize("head", [HEAD, b"HTTP/1.1 302 Found\r\nLocation: /x\r\n"])
async def test_no_more_is_held_than_the_bound_by_a_client_that_blocks(head) -> None:
    asked = partial(ask, body_bytes_max=1_000_000, within_s=FOREVER_S, verify=False)
    async with stranger(head + b"\r\n", b" " * 65536) as url:
        with pytest.raises(httpx.TransportError, match="over 1000000 bytes"):
            await asyncio.to_thread(asked, "GET", url, follow_redirects=True)


@contextlib.asynccontextmanager
async def saying(told: bytes) -> AsyncIterator[str]:
    """Answers each request of a connection with `told`; gives its address."""
    answered: list[asyncio.Task[None]] = []

    def began(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered.append(asyncio.create_task(answer(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(HEAD + f"Content-Length: {len(told)}\r\n\r\n".encode() + told)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(began, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*answered)


UNREADABLE = {
    "nested": b'{"x": ' + b"[" * 100_000,
    "no UTF-8": b'{"sha": "\xff", "siblings": [{"rfilename": "\xff"}], "log_id": "\xff"}',
}


@pytest.mark.parametrize("told", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_nobody_can_read_is_told_as_no_answer(told, monkeypatch) -> None:
    source = HubSource(type="hub", id="org/a", revision="1" * 40)
    async with saying(told) as url:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        assert await asyncio.to_thread(hub_reach.files_of, source, "a token") == frozenset()
        with pytest.raises(Later, match="does not answer as a hub does"):
            await asyncio.to_thread(open_revision, "org/a", environ={"HF_ENDPOINT": url})
        async with follower_of(url, timeout_s=FOREVER_S) as follower:
            with pytest.raises(SourceFailed, match="head cannot be read"):
                await follower.head(None, 0)


PAGES: dict[str, tuple[bytes, Callable[[SIEAsyncConfigClient], Any]]] = {
    "models": (b'{"models": [{}], "next_after": "m"}', lambda client: client.entities("model")),
    "history": (b'{"history": [{}], "next_after": 7}', lambda client: client.history("model", "m")),
    "letters": (b'{"letters": [{}], "next_after": 7}', lambda client: client.letters()),
    "no rows": (b'{"letters": [], "next_after": 7}', lambda client: client.letters()),
    "no list": (b'{"letters": {}, "next_after": null}', lambda client: client.letters()),
    "no place": (b'{"letters": [{}], "next_after": [1]}', lambda client: client.letters()),
}
"""A page that leads to itself, or is none, and the method that reads it."""


@pytest.mark.parametrize("told", PAGES.values(), ids=PAGES)
async def test_pages_that_lead_nowhere_end_a_listing(told) -> None:
    page, asked = told
    async with saying(page) as url, SIEAsyncConfigClient(url) as client:
        with pytest.raises(FixRequest, match="does not answer as sie-config does"):
            await asked(client)


CUT_OFF: dict[str, tuple[bytes, bytes, float]] = {
    "in drops": (HEAD + b"\r\n", b" ", 0.02),
    "packed": (HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b" " * 1000), 0.0),
    "without end": (HEAD + b"\r\n", b" " * 65536, 0.0),
}
READERS: dict[str, Callable[..., Any]] = {
    "the SDK": lambda url, **bounds: SIEClient(url, **bounds).health(),
    "its asynchronous client": lambda url, **bounds: asyncio.run(
        SIEAsyncClient(url, **bounds).health()
    ),
    "the SDK of sie-config": lambda url, **bounds: SIEConfigClient(url, **bounds).head(),
}


ASKERS: dict[str, Callable[[str], Any]] = {
    "doctor": lambda url: gather(Place(url, gateway_url=url), timeout_s=TIMEOUT_S).replicas.error,
    "doctor of a log": lambda url: asked_json(url, within_s=TIMEOUT_S),
    "compaction": lambda url: writers_log_id(url, within_s=TIMEOUT_S) or "drops",
    "a start": lambda url: asyncio.run(writer_line(url, within_s=TIMEOUT_S)).rpartition(": ")[2],
}


@pytest.mark.parametrize("asker", ASKERS.values(), ids=ASKERS)
@pytest.mark.parametrize("told", [DROPS["a head"], DROPS["a trailer"]], ids=["head", "trailer"])
async def test_a_command_that_asks_a_stranger_ends(told, asker) -> None:
    async with stranger(*told, pause_s=0.02) as url:
        try:
            found = await asyncio.to_thread(asker, url)
        except httpx.ReadTimeout:
            found = UNANSWERED
        assert found in {UNANSWERED, "drops"}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("told", CUT_OFF.values(), ids=CUT_OFF)
async def test_a_client_of_a_stranger_ends_and_holds_no_more_than_its_bound(told, reader) -> None:
    head, part, pause_s = told
    within_s = TIMEOUT_S if pause_s else FOREVER_S
    async with stranger(head, part, pause_s=pause_s) as url:
        with pytest.raises((TimeRanOut, FixRequest), match=r"drops|unasked|over 1000000"):
            await asyncio.to_thread(reader, url, timeout_s=within_s, answer_bytes_max=1_000_000)


async def test_a_feed_lasts_and_each_of_its_events_is_bounded() -> None:
    event = b"event: head\ndata: {}\n\n"
    async with (
        stranger(HEAD + b"\r\n", event, pause_s=0.001) as url,
        SIEAsyncConfigClient(url, timeout_s=FOREVER_S, answer_bytes_max=2_000) as reader,
    ):
        feed = reader.follow()
        # In all more than one may have.
        assert [(await anext(feed)).name for _ in range(200)] == ["head"] * 200
    for part in (b"data: a", b"a: b\nc: d\n"):
        async with (
            stranger(HEAD + b"\r\n", part) as url,
            SIEAsyncConfigClient(url, timeout_s=FOREVER_S, answer_bytes_max=2_000) as reader,
        ):
            with pytest.raises(FixRequest, match="over 2000 bytes"):
                await anext(reader.follow())


async def test_a_refusal_of_a_feed_is_bounded_as_a_whole() -> None:
    head = HEAD.replace(b"200 OK", b"404 Not Found")
    assert head != HEAD
    async with (
        stranger(head + b"\r\n", b"not here\n\n") as url,
        SIEAsyncConfigClient(url, timeout_s=FOREVER_S, answer_bytes_max=2_000) as reader,
    ):
        with pytest.raises(FixRequest, match="over 2000 bytes"):
            await anext(reader.follow())


async def test_pages_of_an_audit_that_lead_nowhere_end_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for page in (b'{"rows": [], "next_before": "m"}', b'{"rows": [{}], "next_before": "m"}'):
        async with saying(page) as url:
            # Of the newest a thousand are wanted, and each page has one at most.
            assert await asyncio.to_thread(run_work, url, "json", lambda work: audit(work, {}, 999))
        assert "leads to no other" in capsys.readouterr().err
