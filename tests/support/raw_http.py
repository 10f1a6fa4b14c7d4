"""HTTP by the byte, for what no client library would send, and what it costs the other side."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["HOST", "Told", "Watched", "flood", "kept_watch", "told"]

HOST = b"Host: h\r\n"
_CHUNK = 64 * 1024


@dataclass
class Told:
    """The bytes that came until the other side closed, or for as long as was waited."""

    data: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """Of all answers."""
        return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.data)]


async def told(port: int, *parts: bytes, within_s: float = 5.0, pause_s: float = 0.0) -> Told:
    """Send parts while they are taken, and take all that is said until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = bytearray()
    # At the same time: what was said before a connection breaks counts.
    reading = asyncio.create_task(_read(reader, found))
    try:
        async with asyncio.timeout(within_s):
            await _send(writer, parts, reading, pause_s)
            await reading
    except TimeoutError:
        return Told(bytes(found), closed=False)
    finally:
        reading.cancel()
        writer.transport.abort()
    return Told(bytes(found), closed=True)


async def flood(port: int, head: bytes, body: bytes, size: int) -> Told:
    """Send `head`, then `body` again and again up to `size` bytes, as fast as it is taken."""
    block = body * max(1, _CHUNK // len(body))
    return await told(port, head, *[block] * (size // len(block)), within_s=30)


async def _send(
    writer: asyncio.StreamWriter,
    parts: Iterable[bytes],
    reading: "asyncio.Task[None]",
    pause_s: float,
) -> None:
    with contextlib.suppress(ConnectionError):
        for part in parts:
            if reading.done():
                return
            writer.write(part)
            await writer.drain()
            if pause_s:
                await asyncio.wait({reading}, timeout=pause_s)


async def _read(reader: asyncio.StreamReader, found: bytearray) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            found += data


@dataclass
class Watched:
    """A process, from outside."""

    pid: int
    waits: list[float] = field(default_factory=list)
    """Seconds that other requests took meanwhile."""

    def begin(self) -> None:
        """Forget the peak of memory."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    @property
    def peak_bytes(self) -> int:
        """Since then."""
        return self._status("VmHWM")

    @property
    def bytes(self) -> int:
        """Memory now."""
        return self._status("VmRSS")

    def _status(self, name: str) -> int:
        lines: Iterable[str] = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


@contextlib.asynccontextmanager
async def kept_watch(port: int, pid: int, path: bytes = b"/healthz") -> AsyncIterator[Watched]:
    """Asks a cheap route all the while, each time on a connection of its own."""
    watched = Watched(pid)
    watched.begin()

    over = asyncio.Event()

    async def ask() -> None:
        while not (over.is_set() and watched.waits):
            began = time.monotonic()
            answer = await told(
                port, b"GET %b HTTP/1.1\r\nConnection: close\r\n%b\r\n" % (path, HOST), within_s=20
            )
            assert answer.statuses == [200], answer
            watched.waits.append(time.monotonic() - began)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask())
        try:
            yield watched
        finally:
            over.set()
