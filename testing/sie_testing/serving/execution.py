"""Model execution in a simulated world: what a sidecar finds at the other end of its socket.

*shell.* Speaks the frames of the protocol over a link in memory. One device runs one thing after
another, each for a time that the seed draws. A vector is a hash of the revision, the adapter and
the text, as `sie_testing.processes.echo_execution` makes it: anybody can tell a wrong one.
"""

import asyncio
import contextvars
import random
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from sie_schemas import ipc
from sie_schemas.ipc.frames import Frames
from sie_testing.processes.echo_execution import DIMS, echo_vector
from sie_testing.stage.loop import Host, SimulatedLoop

__all__ = ["LETHAL", "POISON", "Device", "Link", "ServingLoop"]

POISON: Final = "poison"
"""A text that begins so fails every batch that it is in."""
LETHAL: Final = "lethal"
"""A text that begins so ends the process that runs it."""
_WIRE_S: Final = 0.0002
"""A frame over a Unix socket, with two processes' turns: never nothing, so that both orders of two
frames occur."""
_BATCH_S: Final = 0.004
"""A small model's batch takes milliseconds, and is long beside the wire and short beside a load."""
_ITEM_S: Final = 0.001
"""A batch of eight takes three times a lone text: full batches are worth their wait."""
_LOAD_S: Final = 0.15
"""Many batches long, so that requests gather behind a load, and short beside `load_timeout_s`."""


class ServingLoop(SimulatedLoop):
    """A simulated loop with Unix sockets, behind each of which a device may listen."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.sockets: dict[str, Device] = {}

    async def create_unix_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        path: str | None = None,
        **_options: object,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connect to a device. Raises `ConnectionRefusedError` where none listens."""
        await asyncio.sleep(_WIRE_S)
        device = self.sockets.get(path or "")
        if device is None:
            raise ConnectionRefusedError(f"nobody listens on {path}")
        protocol = protocol_factory()
        link = Link(self, protocol, device)
        protocol.connection_made(link)
        device.greet(link)
        return link, protocol


class Link(asyncio.Transport):
    """One connection, seen from the sidecar; its two ends are in two hosts."""

    def __init__(self, loop: SimulatedLoop, protocol: asyncio.Protocol, device: "Device") -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._device = device
        self._context: Final = contextvars.copy_context()
        self._out: deque[bytes] = deque()
        self._back: deque[bytes] = deque()
        self.frames: Final = Frames()
        self.is_open = True

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """To the device, in order."""
        if self.is_open:
            self._out.append(bytes(data))
            self._loop.call_later(_WIRE_S, self._carry, context=self._device.host.context)

    def reply(self, reply: ipc.Reply) -> None:
        """To the sidecar, in order."""
        if self.is_open:
            self._back.append(ipc.encode(reply))
            self._loop.call_later(_WIRE_S, self._carry_back, context=self._context)

    def abort(self) -> None:
        """Cut the connection."""
        self.cut(None)

    def close(self) -> None:
        """The same: nothing waits to be sent."""
        self.cut(None)

    def cut(self, error: Exception | None) -> None:
        """Both ends learn of it."""
        if self.is_open:
            self.is_open = False
            self._loop.call_soon(self._protocol.connection_lost, error, context=self._context)
            self._device.gone(self)

    def _carry(self) -> None:
        if self._out and self.is_open:
            self._device.take(self, self._out.popleft())

    def _carry_back(self) -> None:
        if self._back and self.is_open:
            self._protocol.data_received(self._back.popleft())


class Device:
    """One life of an execution process. `on_run` is told of each text that it is handed, `on_done`
    of each that ran, and `on_lethal` of one that ends the process."""

    def __init__(
        self,
        host: Host,
        rng: random.Random,
        *,
        fuses: Callable[[str], bool],
        on_run: Callable[[str, str, str, str], None],
        on_done: Callable[[str], None],
        on_lethal: Callable[[], None],
    ) -> None:
        self.host = host
        self._rng = rng
        self._fuses = fuses
        self._on_run = on_run
        self._on_done = on_done
        self._on_lethal = on_lethal
        self._links: dict[Link, None] = {}
        self._work: asyncio.Queue[tuple[Link, ipc.Request]] = asyncio.Queue()
        self.loaded: dict[str, None] = {}
        self.adapters: set[tuple[str, str]] = set()
        self.slowness = 1.0

    def greet(self, link: Link) -> None:
        """A sidecar has connected."""
        self._links[link] = None
        link.reply(
            ipc.Hello(
                pid=1,
                device="simulated",
                backends=("scripted",),
                memory_bytes=1_000_000,
                batches_apart=True,
            )
        )

    def gone(self, link: Link) -> None:
        """A connection is over."""
        self._links.pop(link, None)

    def end(self) -> None:
        """The process is gone, and every connection with it."""
        for link in list(self._links):
            link.cut(ConnectionResetError("the other end is gone"))

    def evict(self, revision: str) -> None:
        """Make a model leave, and say so with the next pong."""
        self.loaded.pop(revision, None)
        self.adapters = {key for key in self.adapters if key[0] != revision}

    def take(self, link: Link, data: bytes) -> None:
        """Bytes of a sidecar."""
        for body in link.frames.feed(data):
            request = ipc.decode_request(body)
            if isinstance(request, ipc.Ping | ipc.Batches):
                link.reply(ipc.Pong(request.id, resident=tuple(self.loaded)))
            else:
                if isinstance(request, ipc.RunBatch):
                    self._note(request)
                self._work.put_nowait((link, request))

    def _note(self, request: ipc.RunBatch) -> None:
        for text, adapter in self._texts(request):
            self._on_run(text, request.model_revision, adapter, self.host.name)

    def _texts(self, request: ipc.RunBatch) -> list[tuple[str, str]]:
        """Each text of a batch, and the revision of its adapter; one for all where none fuse."""
        pins = (request.adapter,) * len(request.inputs)
        if request.adapters and self._fuses(request.model_revision):
            pins = request.adapters
        return [
            (cast(ipc.TextInput, item).text, pin.revision if pin is not None else "")
            for item, pin in zip(request.inputs, pins, strict=True)
        ]

    async def run(self) -> None:
        """One thing after the other."""
        while True:
            link, request = await self._work.get()
            if link.is_open:
                reply = await self._done(request)
                link.reply(reply)

    async def _done(self, request: ipc.Request) -> ipc.Reply:
        match request:
            case ipc.Load():
                await asyncio.sleep(self._rng.random() * _LOAD_S * self.slowness)
                self.loaded[request.revision] = None
                return ipc.Loaded(
                    id=request.id,
                    revision=request.revision,
                    accepts="text",
                    cost_unit="bytes4",
                    fuses_adapters=self._fuses(request.revision),
                    resident=tuple(self.loaded),
                )
            case ipc.LoadAdapter():
                await asyncio.sleep(self._rng.random() * _LOAD_S * self.slowness / 4)
                if request.model_revision not in self.loaded:
                    return _failed(request, "MODEL_LOADING", "it has left")
                self.adapters.add((request.model_revision, request.adapter.revision))
                return ipc.AdapterLoaded(request.id, request.adapter)
            case ipc.Unload():
                self.evict(request.revision)
                return ipc.Pong(request.id, resident=tuple(self.loaded))
            case ipc.RunBatch():
                return await self._batch(request)
            case _:
                raise AssertionError(f"the device is not asked this: {request}")

    async def _batch(self, request: ipc.RunBatch) -> ipc.Reply:
        revision = request.model_revision
        if revision not in self.loaded:
            return _failed(request, "MODEL_LOADING", "it has left")
        inputs = self._texts(request)
        if any(each and (revision, each) not in self.adapters for _, each in inputs):
            return _failed(request, "ADAPTER_NOT_FOUND", "an adapter is not loaded")
        texts = [text for text, _ in inputs]
        took_s = (_BATCH_S + _ITEM_S * len(texts)) * (0.5 + self._rng.random()) * self.slowness
        await asyncio.sleep(took_s)
        if any(text.startswith(LETHAL) for text in texts):
            self._on_lethal()
            await asyncio.sleep(60)
        if any(text.startswith(POISON) for text in texts):
            return _failed(request, "INFERENCE_ERROR", "a text of it cannot be run")
        values = [
            value for text, adapter in inputs for value in echo_vector(revision, adapter, text)
        ]
        for text in texts:
            self._on_done(text)
        answers = ipc.DenseAnswers(DIMS, struct.pack(f"<{len(values)}f", *values))
        return ipc.BatchDone(id=request.id, answers=answers, inference_ms=took_s * 1000)


def _failed(request: ipc.Request, code: str, message: str) -> ipc.Failed:
    return ipc.Failed(id=request.id, code=code, message=message)
