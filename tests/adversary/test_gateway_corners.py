"""The gateway, asked by who has no right to, from a page of somebody else, or oddly."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.gateway_process import started_gateway
from tests.support.log_world import free_port, nowhere
from tests.support.raw_http import HOST, Told, told
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, RejectConnection, Request
from wsproto.events import TextMessage as Text

from sie_runtime.access.access import hash_of

pytestmark = pytest.mark.integration

ENCODE = "/v1/encode/org/dense"
ITEMS = {"items": [{"text": "four"}]}


@asynccontextmanager
async def gateway(folder: Path, *flags: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without a broker and without a registry."""
    config_url = f"http://127.0.0.1:{free_port()}"
    async with (
        started_gateway(folder, nowhere(), config_url, "--live-status-s", "0.05", *flags) as (
            _,
            port,
        ),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http,
    ):
        yield http


class Socket:
    """A WebSocket client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    @classmethod
    async def ask(cls, http: httpx.AsyncClient, **headers: str) -> "Socket":
        port = http.base_url.port
        found = cls(*await asyncio.open_connection("127.0.0.1", port))
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        request = Request(
            host=f"127.0.0.1:{port}", target="/ws/cluster-status", extra_headers=extra
        )
        found._writer.write(found._protocol.send(request))
        return found

    async def next(self) -> Event:
        async with asyncio.timeout(60):
            while not self._events:
                self._protocol.receive_data(await self._reader.read(65536) or None)
                self._events += list(self._protocol.events())
        return self._events.pop(0)

    def close(self) -> None:
        self._writer.transport.abort()


def port_of(http: httpx.AsyncClient) -> int:
    assert http.base_url.port is not None
    return http.base_url.port


async def raw(http: httpx.AsyncClient, method: str, path: str) -> Told:
    head = f"{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n".encode()
    return await told(port_of(http), head + HOST + b"\r\n")


async def test_any_name_in_a_path_gets_an_answer(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path) as edge,
        config_process(tmp_path / "data", nowhere()) as (_, config),
    ):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for http, statuses in ((edge, {405}), (config, {400, 404, 405, 415, 422})):
                for name in ("%E2%82%AC", "a%20b", "%F0%9F%98%80", "a%3Fb%23c"):
                    answer = await raw(http, method, f"/v1/configs/models/{name}")
                    assert set(answer.statuses) <= statuses, (method, name, answer)
                    assert len(answer.statuses) == 1, (method, name, answer)
                for name in ("a%00", "a%0d%0aX-A:1", "%ff", "%7f"):
                    answer = await raw(http, method, f"/v1/configs/models/{name}")
                    assert answer.statuses == [400], (method, name, answer)
        answer = await raw(edge, "POST", "/v1/configs/models/%E2%82%AC%20x")
        assert b"/v1/configs/models/%E2%82%AC%20x\r\n" in answer.data


async def test_a_websocket_ends_when_its_token_is_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "tokens"

    def grant(*names: str) -> None:
        tokens = [
            {"name": name, "sha256": hash_of(name.encode()), "roles": ["read"]} for name in names
        ]
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"tokens": tokens}))
        new.replace(file)

    grant("one", "other")
    flags = ("--auth-file", str(file), "--auth-reload-s", "0.05")
    async with gateway(tmp_path, *flags) as http:
        one = await Socket.ask(http, authorization="Bearer one")
        other = await Socket.ask(http, authorization="Bearer other")
        for each in (one, other):
            assert isinstance(await each.next(), AcceptConnection)
            assert isinstance(await each.next(), Text)
        grant("other")
        while isinstance(last := await one.next(), Text):
            continue
        assert isinstance(last, CloseConnection)
        assert (last.code, last.reason) == (1008, "the token is not known here")
        for _ in range(3):
            assert isinstance(await other.next(), Text)
        one.close()
        other.close()


async def test_who_watches_leaves_room_for_who_asks(tmp_path: Path) -> None:
    """WebSockets once took every connection of a gateway, and with them its health check."""
    async with gateway(tmp_path, "--http-connections-max", "40") as http:
        watchers = [await Socket.ask(http) for _ in range(36)]
        try:
            # Of 40 places five are for watchers: the first have been told to come again.
            for each in watchers[:20]:
                events = [await each.next()]
                while not isinstance(events[-1], CloseConnection):
                    events.append(await each.next())
                assert events[-1].code == 1013
            assert isinstance(await watchers[-1].next(), AcceptConnection)
            assert (await http.get("/healthz")).status_code == 200
        finally:
            for each in watchers:
                each.close()


async def test_a_websocket_is_offered_with_a_get_and_any_other_request_is_one(
    tmp_path: Path,
) -> None:
    offer = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n" + HOST
    async with gateway(tmp_path) as http:
        for method in (b"POST", b"PUT", b"OPTIONS"):
            head = method + b" /nowhere HTTP/1.1\r\nContent-Length: 2\r\n" + offer
            answer = await told(port_of(http), head + b"\r\n{}")
            assert answer.statuses == [404], answer
            assert b"NOT_FOUND" in answer.data.upper()


async def test_a_page_of_somebody_else_is_not_served_by_an_open_gateway(tmp_path: Path) -> None:
    flags = ("--web-pages", "https://ours.example,http://localhost:3000")
    async with gateway(tmp_path, *flags) as http:
        for origin in ("http://evil.example", "null", "https://ours.example.evil.example", ""):
            foreign = {"origin": origin}
            refused = await Socket.ask(http, **foreign)
            answer = await refused.next()
            assert isinstance(answer, RejectConnection)
            assert answer.status_code == 403
            refused.close()
            for method, path in (("POST", "/v1/pools"), ("POST", ENCODE), ("GET", "/v1/models")):
                got = await http.request(method, path, json=ITEMS, headers=foreign)
                assert got.status_code == 403, (origin, path)
        # A name that somebody pointed at this machine is in both headers.
        pointed = {"origin": "http://evil.example:80", "host": "evil.example:80"}
        assert (await http.post(ENCODE, json=ITEMS, headers=pointed)).status_code == 403
        # When it reads, its browser names no origin.
        assert (await http.get("/v1/models", headers={"host": "evil.com:80"})).status_code == 403
        for name in ("ours.example", "localhost:3000", "gateway", "gateway.models.svc:8080"):
            assert (await http.get("/v1/models", headers={"host": name})).status_code == 200, name
        for origin in ("http://localhost:3000", "https://OURS.example"):
            welcome = await Socket.ask(http, origin=origin)
            assert isinstance(await welcome.next(), AcceptConnection)
            welcome.close()
            assert (await http.get("/v1/models", headers={"origin": origin})).status_code == 200


async def test_what_a_form_of_a_page_sends_is_no_request(tmp_path: Path) -> None:
    async with gateway(tmp_path) as http:
        for path in (ENCODE, "/v1/pools", "/v1/embeddings"):
            for kind in (
                "text/plain",
                "text/plain;charset=UTF-8",
                "Multipart/Form-Data; boundary=x",
            ):
                got = await http.post(
                    path, content=json.dumps(ITEMS), headers={"content-type": kind}
                )
                assert got.status_code == 415, (path, kind, got.text)


async def test_an_invented_tenant_is_a_short_name(tmp_path: Path) -> None:
    async with gateway(tmp_path) as http:
        for tenant in ("a" * 129, "a b", "a\tb", "caf\xe9", '"', "x" * 20_000):
            headers = [(b"x-sie-tenant", tenant.encode("latin-1"))]
            got = await http.post(ENCODE, json=ITEMS, headers=headers)
            assert got.status_code == 400, tenant
            assert "X-SIE-Tenant" in got.text
        for tenant in ("acme", "team:search/eu", "o@x.example", "a" * 128, ""):
            got = await http.post(ENCODE, json=ITEMS, headers={"x-sie-tenant": tenant})
            assert got.status_code not in {400, 500}, (tenant, got.text)


async def test_the_first_request_of_a_client_that_would_speak_another_version(
    tmp_path: Path,
) -> None:
    body = json.dumps(ITEMS).encode()
    head = b"POST %b HTTP/1.1\r\n%b%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    )
    async with gateway(tmp_path) as http:
        last = head % (ENCODE.encode(), HOST, b"Connection: close\r\n", len(body))
        plain = await told(port_of(http), last, body)
        first = head % (ENCODE.encode(), HOST, offer, len(body))
        offered = await told(port_of(http), first, body, last, body, pause_s=0.05)
        assert len(plain.statuses) == 1
        assert offered.statuses == plain.statuses * 2
        assert b"empty" not in offered.data
