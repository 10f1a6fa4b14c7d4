"""HTTP within bounds: what is refused, in whose turn, and what goes on as if nothing had been."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.log_world import metric
from tests.support.polling import until, until_told
from tests.support.raw_http import HOST, told
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request as Handshake

from sie_runtime.http.connections import HttpBounds
from sie_runtime.http.direct_http import answer_at_once
from sie_runtime.process.lifecycle import serve_http

LAST = HOST + b"Connection: close\r\n"
LARGE = b"x" * 8_000_000


class Application:
    """Says of each request what it was; `/early` answers before the body, `/hold` when told."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.held = 0
        self.gone = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                continue
            self.gone += 1
            return
        path = scope["path"]
        if path == "/late":
            self.held += 1
            await self.go_on.wait()
        body = b"" if path == "/early" else await self._body(receive)
        if body is None:
            self.gone += 1
            return
        if path == "/hold":
            self.held += 1
            await self.go_on.wait()
        names = sorted(name.decode() for name, _ in scope["headers"])
        answer = json.dumps([scope["method"], path, len(body), names]).encode()
        answer = LARGE if path.endswith("large") else answer
        headers = [(b"content-length", b"%d" % len(answer))]
        if not path.startswith("/usual") and answer_at_once(scope, 200, headers, answer):
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _body(self, receive: Any) -> bytes | None:
        body: bytes = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message["body"]
            if not message["more_body"]:
                return body


@contextlib.asynccontextmanager
async def serving(**bounds: Any) -> AsyncIterator[tuple[Application, int]]:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    application = Application()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve_http(
                application,
                host="127.0.0.1",
                port=0,
                stop=stop,
                bounds=HttpBounds(**bounds),
                drain_s=0.1,
                on_listening=port.set_result,
                websockets=True,
            )
        )
        try:
            yield application, await port
        finally:
            application.go_on.set()
            stop.set()


def get(path: bytes, headers: bytes = HOST) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (path, headers)


def post(path: bytes, body: bytes, headers: bytes = HOST) -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, headers, len(body), body)


def chunked(path: bytes, rest: bytes, headers: bytes = HOST) -> bytes:
    return b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n%b" % (path, headers, rest)


H2C = HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
GOOD = {
    "one after another": (get(b"/a") + post(b"/b", b"hello") + get(b"/c", LAST), [200] * 3),
    "another protocol is offered": (post(b"/a", b"hello", H2C) + get(b"/c", LAST), [200] * 2),
    "the same without a body": (get(b"/a", H2C) + get(b"/c", LAST), [200] * 2),
    "chunks": (chunked(b"/a", b"5;a=b\r\nhello\r\n0\r\n\r\n") + get(b"/c", LAST), [200] * 2),
    "an early answer": (post(b"/early", b"x" * 9000) + get(b"/c", LAST), [200] * 2),
    "an old client": (b"GET /a HTTP/1.0\r\n\r\n", [200]),
    "a last one": (get(b"/a", LAST) + get(b"/b"), [200]),
    "one that is refused behind one": (get(b"/hold") + b"GARBAGE\r\n\r\n", [200, 400]),
    "a body that is refused behind one": (get(b"/hold") + chunked(b"/a", b"zz\r\n"), [200, 400]),
    "a path in UTF-8": (get(b"/%E2%82%AC", LAST), [200]),
}


@pytest.mark.parametrize(("sent", "statuses"), GOOD.values(), ids=GOOD)
async def test_however_it_is_cut_a_request_gets_its_own_answer_in_its_turn(sent, statuses):
    async with serving() as (application, port):
        application.go_on.set()
        at_once = await told(port, sent)
        by_byte = await told(port, *[sent[at : at + 1] for at in range(len(sent))][:9500])
    assert at_once.closed
    assert at_once.statuses == statuses
    assert by_byte == at_once


async def test_a_request_that_offers_another_protocol_has_its_body_and_not_the_offer():
    async with serving() as (_, port):
        answer = await told(port, post(b"/a", b"hello", H2C), get(b"/c", LAST))
    assert b'["POST", "/a", 5, ["connection", "content-length", "host"]]' in answer.data


WEBSOCKET = HOST + (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize("ahead", [1, 2, 5])
async def test_a_websocket_behind_a_request_under_way_is_an_offer_that_is_passed_over(ahead):
    # Answers in HTTP went into the WebSocket, and what the requests held was counted for ever.
    asked = post(b"/hold", b"x" * 100) * ahead + get(b"/b", WEBSOCKET)
    async with serving(http_bodies_bytes_max=20_000) as (application, port):
        told_all = asyncio.create_task(told(port, asked + get(b"/c", LAST)))
        await until(lambda: application.held == 1)
        leaving = [await asyncio.open_connection("127.0.0.1", port) for _ in range(15)]
        for _, writer in leaving:
            writer.write(asked)
        await until(lambda: application.held == 1 + len(leaving))
        for _, writer in leaving:
            writer.transport.abort()
        application.go_on.set()
        answer = await told_all
        assert (answer.statuses, answer.closed) == ([200] * (ahead + 2), True)

        async def is_taken() -> bool:
            return (await told(port, post(b"/a", b"x" * 19_000, LAST))).statuses == [200]

        await until_told(is_taken)


async def test_a_websocket_has_one_place_and_leaves_it_to_no_newcomer():
    async with serving(http_connections_max=1) as (application, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get(b"/", WEBSOCKET))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for _ in range(3):
            assert (await told(port, get(b"/a", LAST))).statuses == [503]
        writer.write(b"\x89\x80\0\0\0\0")
        assert await reader.readexactly(2) == b"\x8a\0", "a ping is answered"
        writer.transport.abort()
        await until(lambda: application.gone == 1)
        for _ in range(3):
            assert (await told(port, get(b"/a", LAST))).statuses == [200]


async def test_what_stands_behind_a_body_is_no_header_of_the_request():
    async with serving() as (_, port):
        late = b"5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\nHost: other\r\n\r\n"
        answer = await told(port, chunked(b"/usual", late, LAST))
    assert b'["connection", "host", "transfer-encoding"]' in answer.data


BAD = {
    "two lengths": post(b"/a", b"hi", HOST + b"Content-Length: 9\r\n"),
    "one length twice": post(b"/a", b"hi", HOST + b"Content-Length: 2\r\n"),
    "a length and chunks": chunked(b"/a", b"0\r\n\r\n", HOST + b"Content-Length: 5\r\n"),
    "chunks and a length": post(b"/a", b"hi", HOST + b"Transfer-Encoding: chunked\r\n"),
    "a list of lengths": get(b"/a", HOST + b"Content-Length: 2, 2\r\n"),
    "a signed length": get(b"/a", HOST + b"Content-Length: +2\r\n"),
    "chunks twice": chunked(b"/a", b"0\r\n\r\n", HOST + b"Transfer-Encoding: chunked\r\n"),
    "another coding": get(b"/a", HOST + b"Transfer-Encoding: gzip, chunked\r\n"),
    "no coding": get(b"/a", HOST + b"Transfer-Encoding: identity\r\n"),
    "chunks of an old client": b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space in a name": get(b"/a", HOST + b"Transfer-Encoding : chunked\r\n"),
    "a folded header": get(b"/a", HOST + b"X-A: 1\r\n  2\r\n"),
    "lines without a return": b"GET /a HTTP/1.1\nHost: h\n\n",
    "two hosts": get(b"/a", HOST + HOST),
    "no host": get(b"/a", b""),
    "two bearers": get(b"/a", HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
    "a size that is none": chunked(b"/a", b"zz\r\n"),
    "a size without end": chunked(b"/a", b"f" * 17 + b"\r\n"),
    "a NUL in a path": get(b"/a%00"),
    "a line end in a path": get(b"/a%0d%0aX:y"),
    "a path that is not UTF-8": get(b"/%ff"),
    "another version": b"GET / HTTP/3.7\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "too many ahead": get(b"/hold") * 40,
}


@pytest.mark.parametrize("sent", BAD.values(), ids=BAD)
async def test_what_two_readers_could_take_for_two_things_is_refused(sent):
    async with serving() as (application, port):
        application.go_on.set()
        answer = await told(port, sent + get(b"/smuggled"))
    assert answer.closed
    assert answer.statuses[-1] == 400
    assert set(answer.statuses[:-1]) <= {200}
    assert b"/smuggled" not in answer.data
    head, _, body = answer.data[answer.data.rindex(b"HTTP/1.1 400 ") :].partition(b"\r\n\r\n")
    assert b"x-sie-error-code: INVALID_REQUEST" in head
    assert json.loads(body)["detail"]["code"] == "INVALID_REQUEST"


async def test_a_tunnel_is_refused():
    async with serving() as (_, port):
        assert (await told(port, b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n")).statuses == [405]


async def test_who_asks_before_it_sends_is_told_to_go_on_or_the_answer():
    ask = HOST + b"Expect: 100-continue\r\n"
    async with serving() as (_, port):
        head, body = post(b"/a", b"hello", ask + b"Connection: close\r\n")[:-5], b"hello"
        assert (await told(port, head, body, pause_s=0.05)).statuses == [100, 200]
        # Told the answer, it may or may not send the body: there is no next request here.
        early = await told(port, post(b"/early", b"hello", ask)[:-5], get(b"/b"), pause_s=0.05)
        assert (early.statuses, early.closed) == ([200], True)
        assert b"connection: close" in early.data


async def test_an_early_answer_reaches_who_is_still_sending_much():
    async with serving() as (_, port):
        head = b"POST /early HTTP/1.1\r\nContent-Length: 20000000\r\n" + HOST + b"\r\n"
        answer = await told(port, head, *[b"x" * 100_000] * 200)
    assert (answer.statuses, answer.closed) == ([200], True)


async def test_a_body_may_take_the_time_that_it_earns_and_no_more():
    # Each part earns a second, and the whole takes longer than is free.
    async with serving(http_body_s=0.5, http_body_bytes_per_s=20.0) as (_, port):
        parts = [post(b"/a", b"x" * 60, LAST)[:-60], *[b"x" * 20] * 3]
        assert (await told(port, *parts, pause_s=0.2)).statuses == [200]
    async with serving(http_body_s=0.1, http_body_bytes_per_s=100.0) as (application, port):
        tiny = [post(b"/a", b"x" * 600)[:-600], *[b"x"] * 600]
        answer = await told(port, *tiny, pause_s=0.02)
        assert (answer.statuses, application.gone) == ([408], 1)


async def test_who_never_asks_has_the_time_of_a_head_and_who_has_asked_may_rest():
    async with serving(http_head_s=0.1, http_idle_s=3600.0) as (_, port):
        rests = asyncio.create_task(told(port, get(b"/a"), get(b"/a", LAST), pause_s=1.0))
        silent = await told(port)
        assert (silent.data, silent.closed) == (b"", True)
        half = await told(port, get(b"/a")[:-2])
        assert (half.statuses, half.closed) == ([408], True)
        # For ten times as long as a head may take.
        assert (await rests).statuses == [200, 200]


async def test_the_time_that_an_application_takes_to_read_is_none_of_its_client():
    loop = asyncio.get_running_loop()
    async with serving(http_body_s=0.2, http_body_bytes_per_s=1e9) as (application, port):
        whole = post(b"/late", b"x" * 600_000, LAST)
        asked = asyncio.create_task(told(port, whole[:300_000], whole[300_000:], pause_s=0.6))
        await until(lambda: application.held == 1)
        begun = loop.time()
        # Longer than a body may take, and the rest comes in time once it is read on.
        await until(lambda: loop.time() > begun + 0.5)
        application.go_on.set()
        assert (await asked).statuses == [200]


async def test_what_is_under_way_when_the_server_stops_is_answered():
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    application = Application()
    serves = serve_http(
        application, host="127.0.0.1", port=0, stop=stop, drain_s=0.4, on_listening=port.set_result
    )
    serving_it = asyncio.create_task(serves)
    asked = asyncio.create_task(told(await port, get(b"/hold")))
    await until(lambda: application.held == 1)
    stop.set()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await until(lambda: stopped(port.result()) and loop.time() > begun + 0.25)
    application.go_on.set()
    answer = await asked
    assert (answer.statuses, answer.closed) == ([200], True)
    await serving_it


def stopped(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("ahead", [b"", post(b"/early", b"x"), get(b"/a") + post(b"/a", b"x")])
async def test_bodies_that_wait_for_an_answer_are_bounded_together(ahead):
    # Also where another request of the same connection has its answer already.
    async with serving(http_bodies_bytes_max=200_000) as (application, port):
        asked = ahead + post(b"/hold", b"x" * 60_000)
        held = [asyncio.create_task(told(port, asked)) for _ in range(3)]
        await until(lambda: application.held == 3)
        refused = await told(port, post(b"/a", b"x" * 90_000))
        assert refused.statuses == [503]
        assert b"RESOURCE_EXHAUSTED" in refused.data
        for each in held:
            each.cancel()
        application.go_on.set()
        # What was held is given back, also where nobody waits for the answer any more.

        async def is_taken() -> bool:
            return (await told(port, post(b"/a", b"x" * 190_000, LAST))).statuses == [200]

        await until_told(is_taken)


async def test_a_request_under_way_keeps_its_place_and_one_more_is_told_to_come_again():
    async with serving(http_connections_max=4) as (application, port):
        held = [asyncio.create_task(told(port, get(b"/hold", LAST))) for _ in range(4)]
        await until(lambda: application.held == 4)
        refused = await told(port)
        assert (refused.statuses, refused.closed) == ([503], True)
        assert b"retry-after: 5" in refused.data
        application.go_on.set()
        answers = await asyncio.gather(*held)
        assert [answer.statuses for answer in answers] == [[200]] * 4
        assert (await told(port, get(b"/a", LAST))).statuses == [200]


async def test_of_those_that_wait_the_address_with_most_makes_room():
    async with serving(http_connections_max=6) as (_, port):
        mine = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        mine[1].write(get(b"/a"))
        await mine[0].readuntil(b"]]")
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        mine[1].write(get(b"/a"))
        assert (await mine[0].readuntil(b"]]")).startswith(b"HTTP/1.1 200")
        for _, writer in (mine, *crowd):
            writer.transport.abort()


async def test_a_crowd_that_reads_no_answer_makes_room_where_nobody_rests():
    loop = asyncio.get_running_loop()
    async with serving(http_connections_max=4) as (_, port):
        with contextlib.ExitStack() as crowd:
            for _ in range(4):
                deaf = crowd.enter_context(socket.socket())
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.setblocking(False)
                await loop.sock_connect(deaf, ("127.0.0.1", port))
                await loop.sock_sendall(deaf, get(b"/usual-large") * 2)
                # The first answer fills what there is, and the second waits for its reader.
                assert await loop.sock_recv(deaf, 1)
            asked = get(b"/a", LAST)
            assert [(await told(port, asked)).statuses for _ in range(2)] == [[200], [200]]


# A connection that closes waits for its reader too, and was never looked at again.
@pytest.mark.parametrize("headers", [HOST, LAST])
@pytest.mark.parametrize("path", [b"/large", b"/usual-large"])
async def test_a_client_that_reads_nothing_is_cut_off(path, headers):
    await cut_off_unread(get(path, headers), http_write_s=0.1)


async def test_who_reads_late_but_reads_gets_the_whole_answer():
    loop = asyncio.get_running_loop()
    # A short time for bodies has all times looked at often.
    async with serving(http_write_s=30.0, http_body_s=0.02) as (_, port):
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            await loop.sock_connect(slow, ("127.0.0.1", port))
            await loop.sock_sendall(slow, get(b"/large", LAST))
            begun, taken = loop.time(), 0
            await until(lambda: loop.time() > begun + 0.3)
            while got := await loop.sock_recv(slow, 1 << 20):
                taken += len(got)
    assert taken > len(LARGE)


async def test_answers_that_nobody_reads_are_bounded_together():
    # A short time for bodies has all times looked at often.
    await cut_off_unread(get(b"/large"), http_bodies_bytes_max=1_000_000, http_body_s=0.1)


async def cut_off_unread(asked: bytes, **bounds: Any) -> None:
    loop = asyncio.get_running_loop()
    async with serving(**bounds) as (_, port):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, ("127.0.0.1", port))
            await until(lambda: metric("sie_http_connections") == 1)
            await loop.sock_sendall(deaf, asked)
            await until(lambda: metric("sie_http_connections") == 0)
            taken = 0
            with contextlib.suppress(ConnectionError):
                while got := await loop.sock_recv(deaf, 65536):
                    taken += len(got)
            assert 0 < taken < len(LARGE)


async def test_a_websocket_is_not_read_from_while_it_does_not_read():
    async with serving(http_write_s=0.2) as (application, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = WSConnection(ConnectionType.CLIENT)
        writer.write(client.send(Handshake(host="h", target="/")))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        # A message above the bound ends it.
        writer.write(b"\x81\xff" + (100_000).to_bytes(8, "big") + b"\0" * 4 + b"a" * 100_000)
        await reader.read()
        writer.close()
        assert application.gone == 1
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client = WSConnection(ConnectionType.CLIENT)
        writer.write(client.send(Handshake(host="h", target="/")))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        pings = (b"\x89\xfd" + b"\0" * 4 + b"p" * 125) * 1000
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(5):
                while True:
                    writer.write(pings)
                    await writer.drain()
        writer.transport.abort()
        await until(lambda: application.gone == 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"http_connections_max": 0},
        {"http_head_s": 0.0},
        {"http_url_bytes_max": 70_000},
        {"http_body_bytes_per_s": 0.0},
    ],
)
def test_bounds_that_cannot_be_are_refused_at_start(changes):
    with pytest.raises(ValueError, match="http_"):
        HttpBounds(**changes)


DESCRIPTORS = """
import resource
from sie_runtime.http.connections import within_descriptors

for hard in range(1600, 40, -60):
    for soft in {40, hard // 2, hard - 1, hard}:
        for wanted in (1, hard // 3, hard - 256, hard, 4096):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            room = within_descriptors(max(1, wanted))
            after, kept = resource.getrlimit(resource.RLIMIT_NOFILE)
            needed = max(1, wanted) + 256
            assert (after, kept) == (max(soft, min(needed, hard)), hard)
            if after >= needed:
                assert room == max(1, wanted)
            else:
                assert room == max(after - 256, after // 2) < after
"""


def test_as_many_connections_are_taken_as_there_is_room_for_beside_the_other_files():
    # In a process of its own: a limit that was lowered is not raised again.
    subprocess.run([sys.executable, "-c", DESCRIPTORS], check=True)
