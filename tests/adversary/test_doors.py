"""The cost of somebody without a token to a process: nothing that grows with what is sent."""

import asyncio
import contextlib
import dataclasses
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from tests.support.config_process import config_process
from tests.support.descriptors import open_files
from tests.support.gateway_process import started_gateway
from tests.support.log_world import free_port, nowhere
from tests.support.raw_http import HOST, flood, kept_watch, told
from tests.support.role_settings import ROLES

from sie_runtime.http.connections import HttpBounds
from sie_runtime.settings import is_constant

pytestmark = pytest.mark.integration

MB = 1_000_000
SENT = 40 * MB
HELD = SENT // 2
"""The bytes that a flood may add to a process: less than it sent, with what allocators keep."""
SLOWEST_S = 2.0
"""The seconds that it may make somebody else wait, on a machine that does other things too."""
QUICK = {
    "http_head_s": "0.5",
    "http_body_s": "0.5",
    "http_idle_s": "0.6",
    "http_connections_max": "48",
}
FLAGS = [part for name, value in QUICK.items() for part in (f"--{name.replace('_', '-')}", value)]
PROGRAMS = Path(sys.executable).parent
MANUAL = Path(__file__).parents[2] / "docs/operations/secure.md"


@dataclasses.dataclass
class Service:
    """A process, and a path of it that takes a body."""

    port: int
    pid: int
    body_path: bytes = b""


@contextlib.asynccontextmanager
async def config(folder: Path) -> AsyncIterator[Service]:
    async with config_process(folder, nowhere(), *FLAGS) as (process, http):
        assert http.base_url.port is not None
        yield Service(http.base_url.port, process.pid, b"/v1/configs/models")


@contextlib.asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Service]:
    config_url = f"http://127.0.0.1:{free_port()}"
    async with started_gateway(folder, nowhere(), config_url, *FLAGS) as (process, port):
        yield Service(port, process.pid, b"/v1/encode/a")


@contextlib.asynccontextmanager
async def started(*command: str, route: str) -> AsyncIterator[Service]:
    """A process whose only HTTP are its status routes, once one of them answers."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAMS / command[0]), *command[1:], "--port", str(port), *FLAGS),
        stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("SIE_")},
    )
    try:

        async def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                async with httpx.AsyncClient(timeout=60) as http:
                    url = f"http://127.0.0.1:{port}{route}"
                    return (await http.get(url)).status_code == 200
            return False

        async with asyncio.timeout(100):
            while not await answers():
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield Service(port, process.pid)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def worker(folder: Path) -> AbstractAsyncContextManager[Service]:
    return started(
        *("sie-worker", "--socket-path", str(folder / "none.sock")),
        *("--nats-url", nowhere(), "--config-url", f"http://127.0.0.1:{free_port()}"),
        route="/healthz",
    )


def server(folder: Path) -> AbstractAsyncContextManager[Service]:
    # It answers before all is imported that it will hold.
    return started("sie-server", "--socket", str(folder / "server.sock"), route="/readyz")


Started = Callable[[Path], AbstractAsyncContextManager[Service]]
SERVICES: dict[str, Started] = {
    "config": config,
    "gateway": gateway,
    "worker": worker,
    "server": server,
}
JSON = HOST + b"Content-Type: application/json\r\n"
CHUNKED = b"POST %b HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "one header": (431, b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: ", b"a" * 1000),
    "small headers": (431, b"GET /healthz HTTP/1.1\r\n" + HOST, b"a:b\r\n"),
    "a long path": (414, b"GET /", b"a" * 1000),
    "empty lines": (431, b"", b"\r\n"),
}
BODY_FLOODS = {
    "chunk extensions": (400, CHUNKED + b"5;a=", b"a" * 1000),
    "trailers": (431, CHUNKED + b"0\r\n", b"a:b\r\n"),
    "one trailer": (400, CHUNKED + b"0\r\nX-A: ", b"a" * 1000),
    "a body": (413, b"POST %b HTTP/1.1\r\n" + JSON + b"Content-Length: 99999999\r\n\r\n", b"a"),
}


@pytest.mark.parametrize("start", SERVICES.values(), ids=SERVICES)
async def test_no_flood_and_no_crowd_is_taken_in(tmp_path: Path, start: Started) -> None:
    async with start(tmp_path) as service:
        # What a first request makes a process import is not the flood's.
        await told(service.port, b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n", within_s=0.2)
        for name, (status, head, part) in FLOODS.items():
            await flooded(service, name, status, head, part)
        for name, (status, head, part) in BODY_FLOODS.items() if service.body_path else ():
            await flooded(service, name, status, head % service.body_path, part)
        await dripped(service)
        await crowded(service)


async def flooded(service: Service, name: str, status: int, head: bytes, part: bytes) -> None:
    before = 0
    async with kept_watch(service.port, service.pid) as watched:
        before = watched.bytes
        answer = await flood(service.port, head, part, SENT)
    assert answer.statuses == [status], (name, answer)
    assert watched.peak_bytes - before < HELD, (name, watched.peak_bytes - before)
    assert max(watched.waits) < SLOWEST_S, (name, max(watched.waits))


async def dripped(service: Service) -> None:
    """Forty clients that send a byte now and then, and some that send none."""
    head = b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * 1000
    drops = [head[at : at + 1] for at in range(len(head))]
    slow = [told(service.port, *drops, pause_s=0.05, within_s=20) for _ in range(20)]
    silent = [told(service.port, within_s=20) for _ in range(10)]
    stopped = [told(service.port, head[:30], within_s=20) for _ in range(10)]
    answers = await asyncio.gather(*slow, *silent, *stopped)
    assert all(answer.closed for answer in answers)
    assert [answer.statuses for answer in answers] == [[408]] * 20 + [[]] * 10 + [[408]] * 10
    if service.body_path:
        begun = b"POST %b HTTP/1.1\r\nContent-Length: 9\r\n%b\r\n{" % (service.body_path, JSON)
        answers = await asyncio.gather(*[told(service.port, begun) for _ in range(10)])
        assert [answer.statuses for answer in answers] == [[408]] * 10


async def crowded(service: Service) -> None:
    """More connections than there may be: those that ask for nothing make room for who asks."""
    crowd = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(200)]
    try:
        asked = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
        answers = await asyncio.gather(*[told(service.port, asked) for _ in range(10)])
        assert [answer.statuses for answer in answers] == [[200]] * 10
        sockets = [name for name in open_files(service.pid) if name.startswith("socket:")]
        assert len(sockets) < 48 + 24
    finally:
        for _, writer in crowd:
            writer.transport.abort()


HEAD = b"GET /v1/configs/epoch?after=%d&wait=60 HTTP/1.1\r\n%b\r\n"
WAIT = b'{"epoch":1,"min":9,"timeout_s":600}'


async def test_who_waits_for_news_leaves_room_for_who_asks(tmp_path: Path) -> None:
    """Long polls once took every connection of sie-config, and with them its health check."""
    async with config(tmp_path) as service:
        url = f"http://127.0.0.1:{service.port}"
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            epoch = (await http.get("/v1/configs/epoch")).json()["epoch"]
        poll = HEAD % (epoch, HOST)
        wait = b"POST /v1/configs/wait HTTP/1.1\r\n" + JSON
        wait += b"Content-Length: %d\r\n\r\n%b" % (len(WAIT), WAIT)
        crowd = []
        try:
            for number in range(60):
                reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
                crowd.append((reader, writer))
                writer.write(wait if number % 2 else poll)
                await writer.drain()
            # Of 48 places 24 are for those that wait: the oldest have had their answers.
            for reader, _ in crowd[:20]:
                async with asyncio.timeout(60):
                    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            asked = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
            answers = await asyncio.gather(*[told(service.port, asked) for _ in range(10)])
            assert [answer.statuses for answer in answers] == [[200]] * 10
        finally:
            for _, writer in crowd:
                writer.transport.abort()


DEFAULTS = {
    "http_connections_max": 4096,
    "http_head_bytes_max": 32 * 1024,
    "http_headers_max": 100,
    "http_url_bytes_max": 8192,
    "http_head_s": 10.0,
    "http_body_s": 20.0,
    "http_body_bytes_per_s": 16_384.0,
    "http_bodies_bytes_max": 256 * 1024 * 1024,
    "http_idle_s": 75.0,
    "http_write_s": 30.0,
}


@pytest.mark.parametrize("role", ROLES)
def test_each_bound_holds_in_each_process_and_stands_in_the_manual(role: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(ROLES[role])}
    assert {name: fields[name].default for name in DEFAULTS} == DEFAULTS
    assert set(DEFAULTS) == {field.name for field in dataclasses.fields(HttpBounds)}
    manual = MANUAL.read_text()
    for name, value in DEFAULTS.items():
        setting = "" if is_constant(fields[name]) else f" `{name.upper()}`"
        assert f"| {value:.0f} |{setting} |" in manual, name
