"""The Unix socket of one device: accepts connections, and drains them when asked to stop.

*shell*: owns the socket's file and the connections. Promises that a live process's socket is never
taken over and a dead one's always is. Accepted requests are finished, within a bound, before the
process ends. Pings are answered from the loop (see `connection`), so that they tell of this
process's life while the device is busy. Batches come on connections of their own, which the
device's thread reads itself (see `batches`), or, of an older sidecar, among the other requests.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, Final

import msgspec

from sie_schemas import ipc
from sie_schemas.errors import Later, OurFault, SIEError
from sie_server import metrics
from sie_server.backends.backend import ModelSpec
from sie_server.device.bounded_threads import BoundedThreads
from sie_server.execution.batches import BatchConnections, Send
from sie_server.execution.execution import Built, DeviceRequest, Execution
from sie_server.socket.connection import Connection

__all__ = ["Server"]

_LOG: Final = logging.getLogger(__name__)


class Server:
    """Serves one device.

    `beside` are the threads that read files, `loading` is the one that makes models of them. So
    neither holds the device up, nor a load an adapter.
    """

    def __init__(
        self,
        *,
        path: Path,
        hello: ipc.Hello,
        device: BoundedThreads,
        beside: BoundedThreads,
        loading: BoundedThreads,
        execution: Execution,
        frame_bytes_max: int,
        drain_s: float,
        batch_hang_s: float,
        load_hang_s: float,
        downloading: Callable[[], dict[str, str]],
    ) -> None:
        self._path = path
        self._hello = hello
        self._device = device
        self._beside = beside
        self._loading = loading
        self._execution = execution
        self._frame_bytes_max = min(frame_bytes_max, ipc.FRAME_BYTES_MAX)
        self._drain_s = drain_s
        self._batch_hang_s = batch_hang_s
        self._load_hang_s = load_hang_s
        self._downloading = downloading
        self._connections: set[Connection] = set()
        self._batches = BatchConnections(self._run, frame_bytes_max=self._frame_bytes_max)
        self._loop = asyncio.get_running_loop()
        self._group: asyncio.TaskGroup
        """Set while `run` runs."""
        self._late: set[asyncio.Task[None]] = set()
        """Batches whose adapters are being fetched."""
        self._listening = False
        self._stopping = False

    def state(self) -> dict[str, Any]:
        """The state that `/readyz` tells."""
        return {
            "ready": self._listening and not self._stopping,
            "socket": str(self._path),
            **msgspec.structs.asdict(self._hello),
            "models": self._execution.told(),
            "downloading": self._downloading(),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Listen until `stop`, then drain. Raises `OurFault` when a live process has the socket."""
        _free(self._path)
        # Who can write to this socket can have files read: the owner alone may.
        before = os.umask(0o177)
        try:
            listener = await asyncio.start_unix_server(self._serve, path=self._path)
        finally:
            os.umask(before)
        _LOG.info("listening on %s", self._path)
        self._listening = True
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                # The device's thread reads its batches itself. With the loop between, each cost two
                # changes of thread: half of what a short batch took here.
                serving = group.create_task(
                    self._device.serve(self._batches.serve, self._batches.interrupt)
                )
                await stop.wait()
                listener.close()
                await self._drain()
                for task in (serving, *self._late):
                    task.cancel()
        finally:
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(
            reader,
            writer,
            answer=self._answer,
            pong=self._pong,
            hand_over=self._hand_over,
            frame_bytes_max=self._frame_bytes_max,
        )
        self._connections.add(connection)
        try:
            await connection.run(self._hello)
        finally:
            self._connections.discard(connection)

    def _hand_over(self, request: ipc.Batches, peer: socket.socket) -> None:
        self._batches.adopt(peer, self._pong(request.id))

    def _run(self, request: ipc.RunBatch, send: Send) -> None:
        """Answer a batch on the device's thread, which has just read it."""
        if self._execution.awaits_adapters(request):
            # They are fetched beside the batches that can run.
            self._loop.call_soon_threadsafe(self._begin_late, request, send)
            return
        started = time.perf_counter()
        reply = self._device.timed(
            lambda: self._execution.answer(request), self._batch_hang_s or inf
        )
        send(reply)
        _count(request, reply, started)

    def _begin_late(self, request: ipc.RunBatch, send: Send) -> None:
        task = self._group.create_task(self._run_late(request, send))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _run_late(self, request: ipc.RunBatch, send: Send) -> None:
        reply = await self._answer(request)
        await asyncio.to_thread(send, reply)

    async def _answer(self, request: DeviceRequest) -> ipc.Reply:
        started = time.perf_counter()
        reply = await self._replied(request)
        _count(request, reply, started)
        return reply

    async def _replied(self, request: DeviceRequest) -> ipc.Reply:
        try:
            if self._stopping:
                raise Later("model execution is stopping", code="NOT_READY")
            return await self._done(request)
        except SIEError as error:
            return ipc.Failed(
                id=request.id,
                code=error.code,
                message=error.message,
                retry_after_s=error.retry_after_s,
            )

    async def _done(self, request: DeviceRequest) -> ipc.Reply:
        execution = self._execution
        if isinstance(request, ipc.Load):
            return await self._loaded(request)
        if isinstance(request, ipc.LoadAdapter):
            return await self._beside.submit(lambda: execution.answer(request))
        if execution.awaits_adapters(request):
            await self._beside.submit(lambda: execution.prepare(request))
        return await self._device.submit(
            lambda: execution.answer(request), within_s=self._batch_hang_s or inf
        )

    async def _loaded(self, request: ipc.Load) -> ipc.Reply:
        """Files first, then room, then the model beside what runs; the device only takes it in."""
        execution = self._execution
        within_s = self._load_hang_s or inf
        ready: ModelSpec | ipc.Failed | Built | None
        ready = spec = await self._beside.submit(lambda: execution.prepare(request))
        if isinstance(spec, ModelSpec):
            if await self._device.submit(lambda: execution.make_way(request)):
                # Before the load is through: no batch of what has left is to be sent meanwhile.
                for connection in self._connections:
                    connection.tell(self._pong(0))
            built = await self._loading.submit(
                lambda: execution.build(request, spec), within_s=within_s
            )
            ready = built or spec
        if isinstance(ready, ipc.Failed):
            return ready
        return await self._device.submit(
            lambda: execution.answer(request, ready), within_s=within_s
        )

    def _pong(self, request_id: int) -> ipc.Pong:
        return ipc.Pong(request_id, self._downloading(), self._execution.resident)

    async def _drain(self) -> None:
        self._stopping = True
        try:
            async with asyncio.timeout(self._drain_s), asyncio.TaskGroup() as group:
                for connection in self._connections:
                    group.create_task(connection.finish())
                await self._device.submit(self._batches.finish)
                if self._late:
                    await asyncio.wait(self._late)
        except TimeoutError:
            _LOG.warning("stopped before everything that was accepted had ended")


def _count(request: DeviceRequest, reply: ipc.Reply, started: float) -> None:
    kind = str(request.__struct_config__.tag)
    code = reply.code if isinstance(reply, ipc.Failed) else "OK"
    metrics.REQUESTS.labels(kind, code).inc()
    metrics.REQUEST_SECONDS.labels(kind).observe(time.perf_counter() - started)


def _free(path: Path) -> None:
    """Remove what a dead process left; refuse to take a living one's socket."""
    if not path.exists():
        return
    # To connect to a plain file is refused as if its server had died.
    if not path.is_socket():
        raise OurFault(f"{path} is there and is no socket; choose another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
        try:
            attempt.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise OurFault(f"{path} is not a socket that can be used: {error}") from error
    raise OurFault(f"{path} is served by another process; stop it, or choose another --socket")
