"""A body and an answer at once are those that the server would have given in the usual way."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sie_runtime.http.bodies import until_gone
from sie_runtime.http.direct_http import answer_at_once, body_at_once
from sie_runtime.process.lifecycle import serve_http
from sie_runtime.process.named_requests import NamedRequests

HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"5"), (b"x-a", b"1")]
BAD = {
    b"/bad": [(b"content-length", b"5"), (b"x-a", b"1\r\nx-b: 2")],
    # Some readers take a lone return for an end of line.
    b"/odd": [(b"content-length", b"5"), (b"x-a", b"1\rx-b: 2")],
}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """`/once/…` at once where that is possible, `/usual/…` as ASGI has it; the same answer.

    The first byte of the body stands at its end.
    """
    once = scope["path"].startswith("/once")
    body = body_at_once(scope) if once else None
    if body is None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
    headers = BAD.get(scope["path"][-4:].encode(), HEADERS)
    said = b"hell" + (body[:1] or b"o")
    if scope["path"].endswith("/gone"):
        await until_gone(receive)
        scope["app"].set()
    if once and answer_at_once(scope, 200, headers, said):
        return
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


@asynccontextmanager
async def serving(application: Any = application) -> AsyncIterator[int]:
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve_http(
                application, host="127.0.0.1", port=0, stop=stop, on_listening=port.set_result
            )
        )
        try:
            yield await port
        finally:
            stop.set()


async def answered(port: int, sent: bytes) -> bytes:
    """All that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


LAST = b"Connection: close\r\n"
ASKED = {
    "one": [(b"POST", b"", b"1.1", LAST)],
    "many on one connection": [(b"POST", b"", b"1.1", b"")] * 3 + [(b"POST", b"", b"1.1", LAST)],
    "an old client": [(b"POST", b"", b"1.0", b"")],
    "only the headers": [(b"HEAD", b"", b"1.1", LAST)],
    "a header in a header": [(b"POST", b"/bad", b"1.1", LAST)],
    "a return in a header": [(b"POST", b"/odd", b"1.1", LAST)],
    "asked to go on": [(b"POST", b"", b"1.1", b"Expect: 100-continue\r\n" + LAST)],
}


@pytest.mark.parametrize("requests", ASKED.values(), ids=ASKED)
async def test_both_ways_send_the_same_bytes(requests):
    def written(where: bytes) -> bytes:
        return b"".join(
            b"%b %b%b HTTP/%b\r\nHost: h\r\n%bContent-Length: 2\r\n\r\nhi"
            % (method, where, path, protocol, header)
            for method, path, protocol, header in requests
        )

    async with serving() as port:
        at_once = await answered(port, written(b"/once"))
        usual = await answered(port, written(b"/usual"))
    assert at_once == usual
    # What would put a header into another is not sent at all.
    answers = sum(path not in BAD for _, path, _, _ in requests)
    assert at_once.count(b" 200 OK\r\n") == answers


async def test_a_client_that_left_is_no_error(caplog):
    async with serving() as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /once HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        writer.transport.abort()
        assert (await answered(port, b"GET /once HTTP/1.0\r\n\r\n")).endswith(b"hello")
    assert caplog.records == []


async def test_a_request_that_is_named_is_answered_at_once_too():
    sent: list[str] = []

    async def told(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            sent.append(message["type"])
            await send(message)

        await application(scope, receive, noted)

    def written(path: bytes) -> bytes:
        name = b"X-Request-Id: mine\r\n"
        return b"POST %b HTTP/1.1\r\nHost: h\r\n%b%b\r\n" % (path, name, LAST)

    async with serving(NamedRequests(told, [])) as port:
        at_once = await answered(port, written(b"/once"))
        assert sent == []
        usual = await answered(port, written(b"/usual"))
    assert sent == ["http.response.start", "http.response.body"]
    assert at_once == usual
    assert at_once.count(b"\r\nx-request-id: mine\r\n") == 1


async def test_a_body_that_comes_in_parts_is_read_the_usual_way():
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in (b"POST /once HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\n\r\no", b"-", b"!"):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(reader.read(), 60)).endswith(b"hello")
        writer.close()


async def test_who_took_a_body_at_once_hears_when_the_client_leaves():
    gone = asyncio.Event()

    async def told(scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "app": gone}, receive, send)

    async with serving(told) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /once/gone HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()
        await asyncio.wait_for(gone.wait(), 60)


async def test_an_answer_at_once_leaves_nothing_for_the_collector():
    async with serving() as port:
        await answered(port, b"POST /once HTTP/1.0\r\nContent-Length: 1\r\n\r\no")
        gc.collect()
        gc.disable()
        try:
            await answered(port, b"POST /once HTTP/1.0\r\nContent-Length: 1\r\n\r\no")
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [type(each).__name__ for each in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert "RequestResponseCycle" not in left
