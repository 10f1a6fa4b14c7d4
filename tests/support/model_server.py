"""A real `sie-server` process for a test, and a client that speaks its frames."""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sie_schemas import ipc

__all__ = ["Client", "ModelServer", "connected", "model_server"]

T = TypeVar("T")

_COMMAND = Path(sys.executable).parent / "sie-server"
_START_S = 60.0


@dataclass(frozen=True)
class ModelServer:
    """A running process and its socket."""

    process: asyncio.subprocess.Process
    socket: Path
    log: Path


class Client:
    """One connection. Replies are taken by id, in whatever order they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._early: dict[int, ipc.Reply] = {}

    def next_id(self) -> int:
        """A fresh id."""
        return next(self._ids)

    def send(self, request: ipc.Request) -> None:
        """Write a frame without waiting for its reply."""
        self._writer.write(ipc.encode(request))

    def send_bytes(self, raw: bytes) -> None:
        """Write what may be no frame at all."""
        self._writer.write(raw)

    async def next_reply(self) -> ipc.Reply:
        """The next frame. Raises `IncompleteReadError` when the connection is closed."""
        async with asyncio.timeout(30):
            header = await self._reader.readexactly(ipc.FRAME_HEADER.size)
            return ipc.decode_reply(
                await self._reader.readexactly(ipc.FRAME_HEADER.unpack(header)[0])
            )

    async def ask(self, request: ipc.Request, kind: type[T]) -> T:
        """Send, and give the reply, which must be of a kind."""
        self.send(request)
        while request.id not in self._early:
            reply = await self.next_reply()
            self._early[reply.id] = reply
        found = self._early.pop(request.id)
        assert isinstance(found, kind), found
        return found

    async def load(self, revision: str, config: dict[str, Any], kind: type[T]) -> T:
        """Ask for a model to be loaded."""
        return await self.ask(ipc.Load(id=self.next_id(), revision=revision, config=config), kind)

    async def run(
        self, revision: str, operation: Any, inputs: Sequence[ipc.Input], kind: type[T], **more: Any
    ) -> T:
        """Ask for a batch."""
        request = ipc.RunBatch(
            id=self.next_id(),
            model_revision=revision,
            operation=operation,
            inputs=tuple(inputs),
            **more,
        )
        return await self.ask(request, kind)


@asynccontextmanager
async def model_server(
    folder: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[ModelServer]:
    """Start a process in a folder, wait until it says hello, and end it by its pid.

    `environment` is added to the test's own.
    """
    socket, log = folder / "server.sock", folder / "server.log"
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            str(_COMMAND),
            "--socket",
            str(socket),
            *flags,
            stderr=stream,
            env={**os.environ, **(environment or {})},
        )
    server = ModelServer(process, socket, log)
    try:
        await _until_ready(server)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_ready(server: ModelServer) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            assert server.process.returncode is None, server.log.read_text()
            try:
                async with connected(server):
                    return
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def connected(server: ModelServer) -> AsyncIterator[Client]:
    """A connection whose hello was read."""
    reader, writer = await asyncio.open_unix_connection(server.socket)
    client = Client(reader, writer)
    try:
        hello = await client.next_reply()
        assert isinstance(hello, ipc.Hello)
        assert hello.v == ipc.IPC_VERSION
        yield client
    finally:
        writer.close()
