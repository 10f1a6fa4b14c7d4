"""The fetches of a follower, when the connection fails in ways that its library has no word for."""

import httpx
import pytest

from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.follower.log_source import LogSource, SourceFailed
from sie_sdk.errors import SIEConnectionError
from sie_sdk.wire.transport import EXCHANGE_FAILURES, connection_error


class Refusing(httpx.AsyncBaseTransport):
    """A sie-config that takes no report from this token."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["content-type"] == "application/json"
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


async def test_a_replica_whose_token_is_none_says_so_once(caplog):
    bus = Bus(BusSettings(), role="gateway", process_id="g1")
    client = httpx.AsyncClient(base_url="http://127.0.0.1:1", transport=Refusing())
    source = LogSource("", bus, timeout_s=1, page_entries=10, client=client)
    try:
        for _ in range(3):
            with pytest.raises(SourceFailed, match="403"):
                await source.report(b"{}")
    finally:
        await source.close()
    told = [line for line in caplog.messages if "takes no report of this replica" in line]
    assert len(told) == 1
    assert "names no replica" in told[0]


class Answering(httpx.AsyncBaseTransport):
    """Somebody at the writer's address who answers everything so."""

    def __init__(self, status: int, body: bytes) -> None:
        self._status, self._body = status, body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self._status, content=self._body)


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
