"""Somebody has a role's user at the broker and writes its protocol by hand.

What the library would never send: subjects with bytes that are no letters, headers that are none,
messages nested a hundred thousand deep, on each subject that a process hears.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from tests.adversary.test_broker_credentials import guarded
from tests.support.config_process import config_process
from tests.support.gateway_process import started_gateway
from tests.support.log_world import free_port
from tests.support.polling import until, until_told

from sie_cli.plan.broker import rights
from sie_runtime.broker.bus import Bus, BusSettings, Message, connected_bus
from sie_runtime.process.bounded_lines import LINES_MAX

pytestmark = pytest.mark.integration

ODD = (b"\x0b2", b"\x0c2", b"\x0b2\x0b3", b"\x0bx", b"\x85\xa0", b"\xff\xfe", b"\x00", b"\x1b[2J")
"""Ends of a subject. To Python, and to the library's patterns, the first four are several words."""
HEADERS = (
    b"x",
    b"NATS/1.0",
    b"NATS/1.0\r\n",
    b"NATS/1.0 \xff\xff\xff\r\n\r\n",
    b"NATS/1.0\r\n\xff: \xfe\r\n\r\n",
    b"NATS/1.0\r\n: \r\n:::\r\n\r\n",
    b"NATS/1.0\r\na: b\r\na: c\r\na: d\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: " + b"9" * 5000 + b"\r\nNats-Stream: x\r\n\r\n",
    b"NATS/1.0 999999\r\nStatus: \xb2\r\n\r\n",
    b"\r\n" * 10_000,
)
_SIZE = 1_000_000
"""Near the broker's bound of a message."""
BODIES = (
    b"",
    b"\xff" * 100,
    b"[" * _SIZE,
    b'{"a":' * (_SIZE // 5),
    b"\x91" * _SIZE,
    b"\x81\xa1a" * (_SIZE // 3),
    b"\xdf\xff\xff\xff\xff" + b"\x00" * 100,
    b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1000,
    b"\x9f" * 20 + b"\xc6\xff\xff\xff\xff",
    msgspec.msgpack.encode(dict.fromkeys(map(str, range(100_000)))),
    b'{"epoch":' + b"9" * 100_000 + b"}",
    b'{"epoch":1e999,"log_id":"\xed\xa0\x80","after":-9223372036854775808,"until":1e308}',
    b'{"after":-1,"until":99999999999999999999999,"offset":-5}',
)


class Raw:
    """The protocol by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, *lines: bytes) -> None:
        """Send, and wait until the broker has read it."""
        self._writer.write(b"".join(lines) + b"PING\r\n")
        await self._writer.drain()
        async with asyncio.timeout(20):
            while (line := await self._reader.readline()) != b"PONG\r\n":
                assert line.startswith(b"-ERR 'Permissions"), line


@contextlib.asynccontextmanager
async def by_hand(url: str, role: str) -> AsyncIterator[Raw]:
    host, port = url.removeprefix("nats://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await reader.readline()
        told = {"user": role, "pass": role, "verbose": False, "pedantic": False, "headers": True}
        writer.write(b"CONNECT " + json.dumps(told).encode() + b"\r\n")
        raw = Raw(reader, writer)
        await raw.say()
        yield raw
    finally:
        writer.close()


def pub(subject: bytes, data: bytes, headers: bytes = b"", reply: bytes = b"") -> bytes:
    place = subject + b" " + reply if reply else subject
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (place, len(data), data)
    size = len(headers)
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (place, size, size + len(data), headers, data)


@contextlib.asynccontextmanager
async def heard_by(url: str, role: str) -> AsyncIterator[tuple[Bus, list[str]]]:
    """A bus, and the connections that it has made."""
    lives: list[str] = []
    async with connected_bus(
        BusSettings(nats_url=url, nats_user=role, nats_password=role), role=role, process_id="p"
    ) as b:
        b.on_reconnect(lambda: lives.append("connected"))
        yield b, lives


@pytest.mark.parametrize("form", ["called where it is read", "awaited"])
async def test_no_subject_chooses_who_hears_it_and_nothing_ends_the_reading(
    tmp_path: Path, form: str
) -> None:
    heard: list[Message] = []
    secret: list[bytes] = []

    async def hear(message: Message) -> None:
        heard.append(message)

    async with (
        guarded(tmp_path / "nats") as url,
        heard_by(url, "gateway") as (bus, lives),
        by_hand(url, "worker") as worker,
    ):
        await bus.subscribe("sie.health.*", hear if form == "awaited" else heard.append)
        # Its number at the broker is 2.
        await bus.take("sie.result.*", lambda _subject, _reply, data, _headers: secret.append(data))
        await bus.client.flush()
        for end in ODD:
            await worker.say(
                pub(b"sie.health.a" + end, b"evil"),
                pub(b"sie.health.b", b"evil", reply=b"sie.answer.gateway.x" + end),
                pub(b"sie.health.c" + end, b"evil", headers=b"NATS/1.0\r\na: b\r\n\r\n"),
            )
        for headers in HEADERS:
            await worker.say(pub(b"sie.health.h", b"evil", headers=headers))
        await worker.say(pub(b"sie.health.last", b"good"), pub(b"sie.result.g", b"good"))
        await until(lambda: heard and heard[-1].data == b"good" and secret)
        assert secret == [b"good"]
        assert all(message.subject.startswith("sie.health.") for message in heard)
        assert lives == ["connected"]


def names_of(role: str) -> Iterator[bytes]:
    """Each subject that a role may publish, but for those which the broker answers."""
    for pattern in rights(role).publish:
        if not pattern.startswith("$"):
            words = pattern.replace(">", "gateway.g1").split(".")
            for name in ("default", "g1", "x" * 900, "\x1b[31m", "\N{SNOWMAN}"):
                yield ".".join(name if word == "*" else word for word in words).encode()


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@contextlib.asynccontextmanager
async def worker_process(nats_url: str, config_url: str, folder: Path) -> AsyncIterator[int]:
    port = free_port()
    with (folder / "worker.log").open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "sie-worker"),
            *("--socket-path", str(folder / "none.sock"), "--port", str(port)),
            *("--nats-url", nats_url, "--config-url", config_url),
            stderr=told,
            env={name: value for name, value in os.environ.items() if not name.startswith("SIE_")},
        )

    async def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(timeout=5) as http:
                return (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        return False

    try:
        await until_told(answers)
        yield process.pid
        assert process.returncode is None
        assert await answers()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_no_process_dies_hangs_or_grows_of_what_any_role_publishes(tmp_path: Path) -> None:
    def as_user(url: str, role: str) -> str:
        return url.replace("nats://", f"nats://{role}:{role}@")

    async with (
        guarded(tmp_path / "nats") as url,
        config_process(tmp_path / "log", as_user(url, "config")) as (config, http),
        started_gateway(tmp_path, as_user(url, "gateway"), str(http.base_url)) as (gateway, port),
        worker_process(as_user(url, "worker"), str(http.base_url), tmp_path) as worker,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as door,
    ):

        async def is_ready() -> bool:
            return (await door.get("/v1/configs/epoch")).status_code == 200

        await until_told(is_ready)
        pids = (config.pid, gateway.pid, worker)
        before = [resident_kb(pid) for pid in pids]
        slowest = 0.0
        for role in ("worker", "gateway", "operator"):
            async with by_hand(url, role) as raw:
                for number, subject in enumerate(names_of(role)):
                    await raw.say(*(pub(subject, body) for body in BODIES[number % 2 :: 2]))
                    await raw.say(*(pub(subject, b"{}", headers) for headers in HEADERS))
                    await raw.say(*(pub(subject + end, b"\x80") for end in ODD))
                    begun = time.monotonic()
                    assert (await http.get("/healthz")).status_code == 200
                    assert (await door.get("/healthz")).status_code == 200
                    slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 5
        made = await http.put("/v1/configs/bundles/b", json={"name": "b", "backends": ["x"]})
        assert made.status_code == 201, made.text

        async def follows() -> bool:
            return (await door.get("/v1/configs/bundles/b")).status_code == 200

        await until_told(follows)
        grown = [resident_kb(pid) - kb for pid, kb in zip(pids, before, strict=True)]
        assert max(grown) < 200_000, grown
        told = (tmp_path / "gateway.log").read_text()
        assert "Traceback" not in told, told[-3000:]
        assert '"level": "CRITICAL"' not in told


FLOOD = 2_000
FORGED = b"NATS/1.0\r\nNats-Stream: x\r\n\r\n"


async def test_a_flood_of_what_cannot_be_read_fills_no_log(tmp_path: Path) -> None:
    def as_user(url: str, role: str) -> str:
        return url.replace("nats://", f"nats://{role}:{role}@")

    def lines(role: str) -> list[dict[str, str]]:
        return [json.loads(each) for each in (tmp_path / f"{role}.log").read_text().splitlines()]

    begun = time.monotonic()
    async with (
        guarded(tmp_path / "nats") as url,
        config_process(tmp_path / "log", as_user(url, "config")) as (_, http),
        started_gateway(tmp_path, as_user(url, "gateway"), str(http.base_url)) as (_, port),
        worker_process(as_user(url, "worker"), str(http.base_url), tmp_path),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as door,
    ):

        async def is_ready() -> bool:
            return (await door.get("/v1/configs/epoch")).status_code == 200

        await until_told(is_ready)
        async with by_hand(url, "worker") as raw:
            bad = pub(b"sie.health.default", b"\x80") + pub(b"sie.health.default", b"", FORGED)
            await raw.say(bad * FLOOD)

        async def has_told() -> bool:
            return sum("cannot be read" in each["msg"] for each in lines("worker")) >= LINES_MAX

        await until_told(has_told)
        windows = 1 + (time.monotonic() - begun) // 60
        for role in ("worker", "gateway"):
            told = Counter(each["msg"][:20] for each in lines(role))
            assert max(told.values(), default=0) <= 2 * LINES_MAX * windows, told
