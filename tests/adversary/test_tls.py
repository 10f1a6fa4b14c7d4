"""TLS of a listener and of those who connect: strangers, stale files, and what each is told."""

import asyncio
import contextlib
import dataclasses
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.certificates import Authority, Signed
from tests.support.log_world import metric
from tests.support.polling import until, until_told

from sie_runtime.http.connections import HttpBounds
from sie_runtime.http.direct_http import answer_at_once
from sie_runtime.process.lifecycle import serve_http
from sie_runtime.process.status_routes import status_application
from sie_runtime.tls import ListeningTls, TlsSettings, connecting_context, listening_context
from sie_schemas.errors import FixRequest
from sie_sdk import SIEClient, SIEConnectionError, Tls


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@asynccontextmanager
async def served(
    settings: ListeningTls, application: Any = None, **bounds: Any
) -> AsyncIterator[str]:
    """Status routes behind TLS, or an application; their address."""
    stop = asyncio.Event()
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_http(
            application or status_application(lambda: {"ready": True}),
            host="127.0.0.1",
            port=0,
            stop=stop,
            drain_s=1,
            bounds=HttpBounds(**bounds),
            on_listening=listening.set_result,
            tls=listening_context(settings, look_s=0.01),
        )
    )
    try:
        yield f"https://127.0.0.1:{await listening}"
    finally:
        stop.set()
        await serving


def listens(signed: Signed, **more: Any) -> ListeningTls:
    return ListeningTls(tls_cert_file=signed.cert, tls_key_file=signed.key, **more)


async def asked(url: str, **files: Any) -> str:
    """The error that a user of the SDK gets, on a first call; empty where it is answered."""

    def ask() -> str:
        try:
            with SIEClient(url, tls=Tls(**files), connect_timeout_s=5) as client:
                client.list_models()
        except SIEConnectionError as error:
            return error.message
        except Exception as error:
            # It spoke HTTP: status routes have no models.
            return type(error).__name__
        return ""

    return await asyncio.to_thread(ask)


async def serial(url: str, authority: Authority) -> str:
    """The serial number of the certificate that a new connection is shown."""
    host, _, port = url.removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=authority.ca)
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return shown


async def test_each_way_to_be_wrong_about_tls_is_one_line_with_its_cure(tmp_path, authority):
    other = Authority(tmp_path / "other")
    async with served(listens(authority.signed("good"))) as url:
        assert await asked(url, ca_file=authority.ca) == "FixRequest"
        assert "is of no CA that is trusted here" in await asked(url, ca_file=other.ca)
        assert "SIE_CA_FILE" in await asked(url)
        plain = url.replace("https", "http")
        assert "If it speaks TLS, its address begins with https://" in await asked(plain)
        named = url.replace("127.0.0.1", "127.0.0.2")
        assert (await asked(named, ca_file=authority.ca)).strip()
    async with served(listens(authority.signed("old", days=-1))) as url:
        assert "its certificate has expired" in await asked(url, ca_file=authority.ca)
    async with served(ListeningTls()) as url:
        assert "it speaks no TLS" in await asked(url, ca_file=authority.ca)


async def test_whoever_shows_no_certificate_may_ask_for_health_alone(tmp_path, authority):
    stranger = Authority(tmp_path / "other").signed("stranger")
    settings = listens(authority.signed("server"), tls_client_ca_file=authority.ca)
    async with served(settings) as url:
        bare = ssl.create_default_context(cafile=authority.ca)
        async with httpx.AsyncClient(base_url=url, verify=bare, timeout=60) as http:
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.get("/healthz?x=1")).status_code == 200
            # What begins or ends as those do is another door.
            for path in ("/metrics", "/healthz/", "/readyzz", "/healthz/../metrics", "/a/healthz"):
                refused = await http.get(httpx.URL(url, raw_path=path.encode()))
                assert refused.status_code == 403, path
                assert "a client certificate is wanted" in refused.json()["detail"]["message"]
        client = authority.signed("client")
        known = connecting_context(
            TlsSettings(
                tls_ca_file=authority.ca, tls_cert_file=client.cert, tls_key_file=client.key
            )
        )
        assert known is not None
        async with httpx.AsyncClient(base_url=url, verify=known, timeout=60) as http:
            assert (await http.get("/metrics")).status_code == 200
        told = await asked(
            url, ca_file=authority.ca, cert_file=stranger.cert, key_file=stranger.key
        )
        assert told not in {"", "FixRequest"}


async def test_files_are_changed_without_a_restart_and_bad_ones_never_are(
    tmp_path, authority, caplog
):
    caplog.set_level(logging.INFO)
    there = authority.signed("server")
    async with served(listens(there)) as url:
        first = await serial(url, authority)
        authority.signed("server", into=there)

        async def is_new() -> bool:
            return await serial(url, authority) != first

        await until_told(is_new)
        second = await serial(url, authority)
        for bad in (b"", b"junk", Authority(tmp_path / "o").signed("x").key.read_bytes()):
            there.key.write_bytes(bad)
            assert await serial(url, authority) == second
        there.key.unlink()
        assert await serial(url, authority) == second
        assert "the certificates stay as they were" in caplog.text
        authority.signed("server", into=there)
        await until_told(lambda: _differs(url, authority, second))


async def _differs(url: str, authority: Authority, old: str) -> bool:
    return await serial(url, authority) != old


async def test_a_ca_that_is_taken_out_of_the_file_is_trusted_no_more(tmp_path, authority):
    other = Authority(tmp_path / "other")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.ca.read_bytes())
    context = connecting_context(TlsSettings(tls_ca_file=trusted), look_s=0.0)
    assert context is not None
    async with served(listens(authority.signed("server"))) as url:

        async def status() -> int:
            async with httpx.AsyncClient(base_url=url, verify=context, timeout=60) as http:
                return (await http.get("/healthz")).status_code

        assert await status() == 200
        trusted.write_bytes(other.ca.read_bytes())
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await status()


def test_files_that_cannot_be_used_are_named_at_the_start(tmp_path, authority):
    good, other = authority.signed("good"), authority.signed("other")
    alone = listens(good)
    with pytest.raises(FixRequest, match="the key is of another certificate"):
        listening_context(dataclasses.replace(alone, tls_key_file=other.key))
    with pytest.raises(FixRequest, match="tls_key_file is wanted"):
        listening_context(dataclasses.replace(alone, tls_key_file=None))
    with pytest.raises(FixRequest, match="No such file"):
        listening_context(dataclasses.replace(alone, tls_cert_file=tmp_path / "none"))
    with pytest.raises(FixRequest, match="holds no certificates of a CA"):
        listening_context(dataclasses.replace(alone, tls_client_ca_file=good.key))
    with pytest.raises(FixRequest, match="give tls_cert_file too"):
        listening_context(ListeningTls(tls_client_ca_file=authority.ca))
    with pytest.raises(FixRequest, match="come together"):
        SIEClient("https://h", tls=Tls(cert_file=good.cert))


HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
REFUSED: dict[str, tuple[bytes, int, dict[str, float]]] = {
    "half a head": (HEAD, 408, {"http_head_s": 0.2}),
    "no HTTP": (b"nonsense\r\n\r\n", 400, {}),
    "a long path": (HEAD.replace(b"healthz", b"a" * 9000) + b"\r\n", 414, {}),
}


@pytest.mark.parametrize("sent", sorted(REFUSED))
async def test_who_is_refused_before_a_token_ends_no_server(authority, sent, caplog):
    """Half a head within its time once ended the server, with all its clients."""
    data, status, bounds = REFUSED[sent]
    async with served(listens(authority.signed("good")), **bounds) as url:
        reader, writer = await opened(url, authority)
        writer.write(data)
        assert (await reader.readline()).startswith(b"HTTP/1.1 %d " % status)
        writer.transport.abort()
        await until_told(lambda: answers(url, authority))
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def answers(url: str, authority: Authority) -> bool:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await opened(url, authority)
        writer.write(HEAD + b"\r\n")
        line = await reader.readline()
        writer.transport.abort()
        return line.startswith(b"HTTP/1.1 200")
    return False


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_client_that_reads_nothing_under_tls_is_cut_off(authority, at_once):
    whole = b"x" * 8_000_000

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-length", b"%d" % len(whole))]
        if not at_once or not answer_at_once(scope, 200, headers, whole):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": whole})

    settings = listens(authority.signed("good"))
    async with served(settings, large, http_write_s=0.1) as url:
        reader, writer = await opened(url, authority)
        await until(lambda: metric("sie_http_connections") == 1)
        writer.write(HEAD + b"\r\n")
        await until(lambda: metric("sie_http_connections") == 0)
        writer.transport.abort()
    # And whoever reads has all of it.
    async with served(settings, large) as url:
        reader, writer = await opened(url, authority)
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(whole)) == whole
        writer.transport.abort()


async def opened(
    url: str, authority: Authority
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose kernel takes little that is not read."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", int(url.split(":")[-1])))
    context = ssl.create_default_context(cafile=str(authority.ca))
    return await asyncio.open_connection(sock=small, ssl=context, server_hostname="127.0.0.1")
