"""The fetches of a follower, when the connection fails in ways that its library has no word for."""

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sie_core.chain import position_of
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.follower.log_source import LogSource, RangeGone, SourceFailed
from sie_schemas.entry import to_envelope
from sie_sdk.errors import SIEConnectionError
from sie_sdk.wire.transport import EXCHANGE_FAILURES, connection_error
from sie_testing.written_log import WrittenLog


class Refusing(httpx.AsyncBaseTransport):
    """A sie-config that takes no report from this token, but the third."""

    def __init__(self) -> None:
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"] == "application/json"
        self.asked += 1
        if self.asked == 3:
            return httpx.Response(200, content=msgspec.json.encode(WrittenLog().head))
        told = {"detail": {"code": "FORBIDDEN", "message": "names no replica"}}
        return httpx.Response(403, json=told)


class Tripping(httpx.AsyncBaseTransport):
    """Fails as anyio does below httpx, where a connection is reset while it is made."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise AttributeError("'NoneType' object has no attribute 'getpeername'")


async def test_a_connection_that_is_reset_while_it_is_made_fails_a_fetch_and_ends_no_process():
    bus = Bus(BusSettings(), role="gateway", process_id="g1")
    client = httpx.AsyncClient(base_url="http://127.0.0.1:1", transport=Tripping())
    source = LogSource("", bus, timeout_s=1, page_entries=10, client=client)
    try:
        for asked in (source.report(b"{}"), source.snapshot(), source.head(None, 0)):
            with pytest.raises(SourceFailed, match="getpeername"):
                await asked
    finally:
        await source.close()


async def test_a_replica_whose_token_is_none_says_so_once_and_again_after_it_was_one(caplog):
    bus = Bus(BusSettings(), role="gateway", process_id="g1")
    client = httpx.AsyncClient(base_url="http://127.0.0.1:1", transport=Refusing())
    source = LogSource("", bus, timeout_s=1, page_entries=10, client=client)
    try:
        for number in range(1, 6):
            if number == 3:
                await source.report(b"{}")
                continue
            with pytest.raises(SourceFailed, match="403"):
                await source.report(b"{}")
    finally:
        await source.close()
    told = [line for line in caplog.messages if "takes no report of this replica" in line]
    assert len(told) == 2
    assert "names no replica" in told[0]


class Answering(httpx.AsyncBaseTransport):
    """Somebody at the writer's address who answers everything so."""

    def __init__(self, status: int, body: bytes) -> None:
        self._status, self._body = status, body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self._status, content=self._body)


class Noting(httpx.AsyncBaseTransport):
    """A sie-config that notes what it is asked."""

    def __init__(self, status: int, body: bytes) -> None:
        self._status, self._body = status, body
        self.asked: list[dict[str, str]] = []
        self.read_s: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(dict(request.url.params))
        self.read_s.append(request.extensions["timeout"]["read"])
        return httpx.Response(self._status, content=self._body)


@given(after=st.integers(0, 50), more=st.integers(1, 40), wait_s=st.sampled_from([0.0, 20.0]))
@settings(deadline=None, max_examples=25)
async def test_a_fetch_asks_for_no_more_than_it_wants_and_a_poll_tells_the_whole_place(
    after, more, wait_s
):
    log = WrittenLog()
    log.put("model", "m", {})
    bus = Bus(BusSettings(), role="gateway", process_id="g1")
    lines = b"".join(to_envelope(entry) + b"\n" for entry in log.entries)
    for status, body in ((200, lines), (200, msgspec.json.encode(log.head)), (410, b"")):
        writer = Noting(status, body)
        client = httpx.AsyncClient(base_url="http://127.0.0.1:1", transport=writer)
        source = LogSource("", bus, timeout_s=1, page_entries=10, client=client)
        here = position_of(log.entries[-1])
        try:
            if status == 410:
                with pytest.raises(RangeGone):
                    await source.entries(log.log_id, after, after + more)
            elif body is lines:
                found = await source.entries(log.log_id, after, after + more)
                assert found == tuple(log.entries)
                limit = str(min(10, more))
                told = {"log_id": log.log_id, "after": str(after), "limit": limit}
                assert writer.asked == [told]
            else:
                assert await source.head(here, wait_s) == log.head
                assert writer.asked == [
                    {
                        "log_id": log.log_id,
                        "after": str(here.epoch),
                        "digest": here.digest,
                        "wait": f"{wait_s:g}",
                    }
                ]
                # An answer that comes at the end of the wait is read.
                assert writer.read_s[0] > wait_s
        finally:
            await source.close()


_NO_ANSWERS = [
    *[(status, b"") for status in (201, 204, 301, 304, 400, 401, 403, 404, 429, 500, 502, 503)],
    # Ahead of the writer: no snapshot of it would help.
    (409, b""),
    (200, b"<html>"),
    (200, b"{}"),
    (200, b'{"log_id":"1","epoch":"x"}\n'),
    (401, b'{"detail":{"code":"UNAUTHORIZED","message":"who?"}}'),
]


@pytest.mark.parametrize(("status", "body"), _NO_ANSWERS)
async def test_what_is_no_answer_is_a_failure_of_every_fetch_and_never_an_empty_one(status, body):
    bus = Bus(BusSettings(), role="gateway", process_id="g1")
    client = httpx.AsyncClient(
        base_url="http://127.0.0.1:1", transport=Answering(status, body), follow_redirects=False
    )
    source = LogSource("", bus, timeout_s=1, page_entries=10, client=client)
    fetches = [
        lambda: source.entries("1" * 32, 3, 9),
        source.snapshot,
        lambda: source.head(None, 0),
        lambda: source.report(b"{}"),
    ]
    try:
        for asked in fetches:
            with pytest.raises(SourceFailed):
                await asked()
    finally:
        await source.close()


def test_to_the_sdk_it_is_a_connection_error_that_is_tried_again():
    error = AttributeError("'NoneType' object has no attribute 'getpeername'")

    assert isinstance(error, EXCHANGE_FAILURES)
    told = connection_error(error, "http://127.0.0.1:1")
    assert isinstance(told, SIEConnectionError)
    assert told.retry_after_s == 0.2
