"""Trailers behind the content of a body that comes in chunks, and bodies that have to wait."""

import asyncio
from typing import Any

from tests.support.polling import until
from tests.support.raw_http import HOST, told

from sie_runtime.http.connections import HttpBounds
from sie_runtime.process.lifecycle import serve_http

LAST = HOST + b"Connection: close\r\n"
HEAD_BYTES = 4096
CONTENT = b"40000\r\n" + b"x" * 0x40000 + b"\r\n"
"""A chunk that allows sixteen times as much of framing."""
LOOK_S = 0.005
WITHIN_S = 60.0
"""Far more than a machine that is busy makes of it."""


class Watchful(HttpBounds):
    """Looks often at times that are far longer than a loop ever stands still."""

    looks = 0

    @property
    def http_look_s(self) -> float:
        """Asked for once before each look."""
        type(self).looks += 1
        return LOOK_S


class Application:
    """Reads a body up to some bytes, the rest when it may, and says how long it was."""

    def __init__(self, waits_at: int = 0) -> None:
        self._waits_at = waits_at
        self.waits = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            if size >= self._waits_at:
                self.waits.set()
                await self.may_go_on.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        told_size = b"%d" % size
        headers = [(b"content-length", b"%d" % len(told_size))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told_size})


async def answered(application: Application, *parts: bytes, looks: int = 0) -> bytes:
    """The answer to a request whose application reads its body after some looks at it."""
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    bounds = Watchful(http_head_bytes_max=HEAD_BYTES, http_url_bytes_max=HEAD_BYTES)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            serve_http(
                application,
                host="127.0.0.1",
                port=0,
                stop=stop,
                bounds=bounds,
                drain_s=0.1,
                on_listening=port.set_result,
            )
        )
        try:
            answer = asyncio.create_task(told(await port, *parts, within_s=WITHIN_S))
            await application.waits.wait()
            wanted = Watchful.looks + looks
            await until(lambda: Watchful.looks >= wanted, within_s=WITHIN_S)
            application.may_go_on.set()
            return (await answer).data
        finally:
            stop.set()


def chunked(*parts: bytes) -> tuple[bytes, ...]:
    return (b"POST / HTTP/1.1\r\n" + LAST + b"Transfer-Encoding: chunked\r\n\r\n", *parts)


async def test_content_buys_no_trailer() -> None:
    # Put together part by part, 130 MB of it once kept a gateway's loop for half a minute.
    trailer = [b"0\r\nX-A: ", *[b"a" * 65536] * 16, b"\r\n\r\n"]
    answer = await answered(Application(), *chunked(CONTENT, *trailer))
    assert b" 400 " in answer
    assert b"the chunks of the body hold next to nothing" in answer


async def test_a_short_trailer_is_passed_over() -> None:
    answer = await answered(Application(), *chunked(CONTENT, b"0\r\nX-A: b\r\n\r\n"))
    assert answer.endswith(b"%d" % 0x40000)


async def test_a_body_that_waited_for_its_reader_is_not_too_long_for_what_it_holds() -> None:
    # More than the process holds ahead, so that it stops reading until the application does.
    parts = [b"x" * 65536] * 160
    head = b"POST / HTTP/1.1\r\n" + LAST + b"Content-Length: %d\r\n\r\n" % (160 * 65536)
    answer = await answered(Application(100 * 65536), head, *parts, looks=20)
    assert answer.endswith(b"%d" % (160 * 65536))
