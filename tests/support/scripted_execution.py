"""A model-execution process by script: a Unix socket that speaks the IPC and does as it is told.

It answers in this process's loop. `answer` decides each request's reply, so a test says what the
device does; `hold` keeps batches running until the test lets them go; `die` cuts every connection.
"""

import asyncio
import struct
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from sie_schemas import ipc
from sie_worker.execution.executor import Executor

__all__ = [
    "LETHAL",
    "POISON",
    "ScriptedExecution",
    "connected_execution",
    "scripted_execution",
    "vectors",
]

ExecutorT = TypeVar("ExecutorT", bound=Executor)

POISON = "poison"
"""A text that fails every batch it is in."""
LETHAL = "lethal"
"""A text that ends the process that runs it."""


class ScriptedExecution:
    """The requests that were asked, and their answers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[ipc.Request] = []
        self.answer: Callable[[ipc.Request], ipc.Reply | bytes | None] = self.usual_answer
        self.accepts = "text"
        self.hello = ipc.Hello(
            pid=1,
            device="scripted",
            backends=("scripted",),
            memory_bytes=1_000_000,
            batches_apart=True,
        )
        self.load_failures: dict[str, ipc.Failed] = {}
        """By revision."""
        self.evicted: set[str] = set()
        """Revisions that a batch finds unloaded, until they are loaded again."""
        self.resident: tuple[str, ...] | None = None
        """The models that are said to be loaded; None says nothing of it."""
        self.batches_apart: list[bool] = []
        """Of each batch: did it come over a connection that is for batches alone?"""
        self.loads_go = asyncio.Event()
        """Loads end while this is set."""
        self.loads_go.set()
        self._free = asyncio.Event()
        self._free.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def batches(self) -> list[ipc.RunBatch]:
        """The batches that came, in order."""
        return [request for request in self.requests if isinstance(request, ipc.RunBatch)]

    @property
    def loads(self) -> list[str]:
        """The revisions whose load was asked for, in order."""
        return [request.revision for request in self.requests if isinstance(request, ipc.Load)]

    @property
    def connections(self) -> int:
        """The number of connections now."""
        return len(self._writers)

    def hold(self) -> None:
        """Let no batch end until `let_go`."""
        self._free.clear()

    def let_go(self) -> None:
        """Let the batches end that were held."""
        self._free.set()

    async def start(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def die(self) -> None:
        """Cut every connection, and listen no more."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()
        self.path.unlink(missing_ok=True)

    def usual_answer(self, request: ipc.Request) -> ipc.Reply | None:
        """The reply of a healthy process."""
        match request:
            case ipc.Ping() | ipc.Unload() | ipc.Batches():
                return ipc.Pong(request.id, resident=self.resident)
            case ipc.Load():
                self.evicted.discard(request.revision)
                failure = self.load_failures.get(request.revision)
                if failure is not None:
                    return ipc.Failed(id=request.id, code=failure.code, message=failure.message)
                if self.resident is not None:
                    self.resident = (*self.resident, request.revision)
                return ipc.Loaded(
                    id=request.id,
                    resident=self.resident,
                    revision=request.revision,
                    accepts=self.accepts,
                    cost_unit="bytes4",
                )
            case ipc.LoadAdapter():
                return ipc.AdapterLoaded(request.id, request.adapter)
            case ipc.RunBatch():
                return self._run(request)

    def _run(self, request: ipc.RunBatch) -> ipc.Reply:
        texts = [item.text for item in request.inputs if isinstance(item, ipc.TextInput)]
        if request.model_revision in self.evicted:
            return ipc.Failed(id=request.id, code="MODEL_LOADING", message="it was evicted")
        if POISON in texts:
            return ipc.Failed(id=request.id, code="INFERENCE_ERROR", message="poisoned")
        return ipc.BatchDone(
            id=request.id, answers=vectors(texts, len(request.inputs)), inference_ms=1.0
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        writer.write(ipc.encode(self.hello))
        is_apart = False
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    (size,) = ipc.FRAME_HEADER.unpack(await reader.readexactly(4))
                    request = ipc.decode_request(await reader.readexactly(size))
                    self.requests.append(request)
                    is_apart = is_apart or isinstance(request, ipc.Batches)
                    if isinstance(request, ipc.RunBatch):
                        self.batches_apart.append(is_apart)
                    group.create_task(self._reply(request, writer))
        except* (EOFError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _reply(self, request: ipc.Request, writer: asyncio.StreamWriter) -> None:
        if isinstance(request, ipc.Load):
            await self.loads_go.wait()
        if isinstance(request, ipc.RunBatch):
            await self._free.wait()
            if any(
                isinstance(item, ipc.TextInput) and item.text == LETHAL for item in request.inputs
            ):
                writer.transport.abort()
                return
        reply = self.answer(request)
        if reply is not None:
            writer.write(reply if isinstance(reply, bytes) else ipc.encode(reply))


def vectors(texts: list[str], count: int) -> ipc.DenseAnswers:
    """A vector of one number for each text: its length."""
    lengths = [float(len(text)) for text in texts] or [0.0] * count
    return ipc.DenseAnswers(1, struct.pack(f"<{len(lengths)}f", *lengths))


@asynccontextmanager
async def scripted_execution(folder: Path) -> AsyncIterator[ScriptedExecution]:
    """A scripted execution process that listens in `folder`."""
    execution = ScriptedExecution(folder / "execution.sock")
    await execution.start()
    try:
        yield execution
    finally:
        execution.let_go()
        execution.loads_go.set()
        await execution.die()


@asynccontextmanager
async def connected_execution(
    kind: type[ExecutorT],
) -> AsyncIterator[tuple[ScriptedExecution, ExecutorT]]:
    """A process, and the sidecar's executor of a kind, connected to it."""
    with tempfile.TemporaryDirectory() as folder:
        async with scripted_execution(Path(folder)) as execution:
            executor = kind(
                str(execution.path),
                reconnect_s=0.001,
                ping_interval_s=60.0,
                ping_timeout_s=10.0,
                load_timeout_s=10.0,
                batch_timeout_s=10.0,
            )
            stop = asyncio.Event()
            running = asyncio.create_task(executor.run(stop))
            try:
                await executor.wait_connected()
                yield execution, executor
            finally:
                stop.set()
                await running
