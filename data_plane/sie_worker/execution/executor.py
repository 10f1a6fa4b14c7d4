"""The executor: this sidecar's connection to the model-execution process.

*shell*: owns the connections to one Unix socket: one for batches and one for all else. The device's
thread reads the one for batches itself where it offers that. Requests are multiplexed by id; each
has a deadline. Promises that a request ends in exactly one way: its reply, the error in its reply,
or `ExecutorLost` as soon as a connection is gone. It is gone when the process died, hung (it
answers no ping), ran a batch past its time, or sent what cannot be read. Then it connects again,
for ever, and says so through `on_change`. Nothing is sent twice: who wants a lost request done asks
again.

Does not start the process, and does not know what is loaded in it.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import count
from typing import Any, Final, NoReturn, cast

from sie_schemas import ipc
from sie_schemas.errors import Later, OurFault, SIEError, error_for
from sie_schemas.ipc.frames import Frames, FrameTooLong
from sie_schemas.items import Operation
from sie_schemas.jobs import AdapterPin
from sie_schemas.malformed import MALFORMED

__all__ = ["SILENT_S", "Executor", "ExecutorLost"]

SILENT_S: Final = 3.0
"""A ping is answered within milliseconds, and within a second or two beside a load. What is silent
for longer is told; it is given up much later, as that costs its work."""
_ABSENT: Final = "it does not listen yet, or not any more"
"""The loss of a connection that could not be made, which says less than any other."""


class ExecutorLost(Later):
    """The model-execution process is not there; what it had in hand is lost and may be redone."""

    code = "NOT_READY"


class _Unreadable(Exception):
    """The other side does not speak this protocol."""


class _Link(asyncio.Protocol):
    """One connection. The first reply is awaited; the others are given to `take` as they are read.

    Sets `over` when it is gone; `lost` is then why.
    """

    transport: asyncio.Transport

    def __init__(self, take: Callable[[ipc.Reply], None], over: asyncio.Event) -> None:
        self._take = take
        self._frames = Frames()
        self._first: ipc.Reply | None = None
        self._begun = asyncio.Event()
        self._over = over
        self.lost: Exception | None = None

    async def first(self) -> ipc.Reply:
        """The first reply. Raises why there is none."""
        await self._begun.wait()
        if self._first is None:
            raise self.lost or EOFError
        return self._first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                self._read(ipc.decode_reply(body))
        except (FrameTooLong, *MALFORMED) as error:
            self.lost = _Unreadable(f"unreadable reply: {error}")
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = self.lost or exc or EOFError("it closed the connection")
        self._begun.set()
        self._over.set()

    def _read(self, reply: ipc.Reply) -> None:
        if self._first is None:
            self._first = reply
            self._begun.set()
        else:
            self._take(reply)


class Executor:
    """Client of one execution process. Owned by the main task group; `run` is its loop."""

    def __init__(
        self,
        socket_path: str,
        *,
        reconnect_s: float,
        ping_interval_s: float,
        ping_timeout_s: float,
        load_timeout_s: float,
        batch_timeout_s: float,
        silent_s: float = SILENT_S,
    ) -> None:
        self._socket_path: Final = socket_path
        self._reconnect_s: Final = reconnect_s
        self._ping_interval_s: Final = ping_interval_s
        self._ping_timeout_s: Final = ping_timeout_s
        self._load_timeout_s: Final = load_timeout_s
        self._batch_timeout_s: Final = batch_timeout_s
        self._silent_s: Final = silent_s
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[ipc.Reply]] = {}
        self._control: asyncio.Transport | None = None
        self._batches: asyncio.Transport | None = None
        """That for batches: the same one, where model execution does not read them apart."""
        self._hello: ipc.Hello | None = None
        self._listeners: list[Callable[[], None]] = []
        self._on_resident: list[Callable[[], None]] = []
        self._connected = asyncio.Event()
        self.connections = 0
        """The number of connections so far: what was loaded in an earlier one is gone."""
        self.downloading: dict[str, str] = {}
        """The progress of each hub source (`<id>@<commit>`) that the last ping found on its way."""
        self.resident: frozenset[str] | None = None
        """The revisions that the last word of it named as loaded; None where it does not say."""
        self.last_loss = ""
        """The reason why the last connection ended, or could not be made."""
        self._pinged_at: float | None = None
        """The loop's time at which the ping that is out was sent."""

    @property
    def connected(self) -> bool:
        """True if requests can be sent: the process said hello and is still there."""
        return self._connected.is_set()

    @property
    def trouble(self) -> str:
        """In words: why it is not connected, or that it is silent; empty where all is well."""
        if not self.connected:
            return self.last_loss or "it is not connected"
        if self._pinged_at is None:
            return ""
        silent_s = asyncio.get_running_loop().time() - self._pinged_at
        return f"no answer for {silent_s:.0f} s" if silent_s >= self._silent_s else ""

    @property
    def hello(self) -> ipc.Hello | None:
        """The words of the process about itself on this connection."""
        return self._hello

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after each connection made or lost."""
        self._listeners.append(callback)

    def on_resident(self, callback: Callable[[], None]) -> None:
        """Call back whenever the process says that other revisions than before are loaded."""
        self._on_resident.append(callback)

    async def wait_connected(self) -> None:
        """Return once requests can be sent. No deadline: the caller has one."""
        await self._connected.wait()

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until `stop` is set."""
        async with asyncio.TaskGroup() as group:
            loops = [
                group.create_task(self._stay_connected()),
                group.create_task(self._keep_pinging()),
            ]
            await stop.wait()
            for loop in loops:
                loop.cancel()

    async def load(
        self,
        revision: str,
        config: dict[str, Any],
        *,
        pinned: bool = False,
        running: Collection[str] = (),
    ) -> ipc.Loaded:
        """Make a model revision ready, and pin it or not; again, where it is loaded already.

        Where others must leave for it, the revisions that are `running` leave last.
        """
        request = ipc.Load(
            id=next(self._ids),
            revision=revision,
            config=config,
            pinned=pinned,
            running=tuple(running),
        )
        reply = await self._ask(self._control, request, self._load_timeout_s)
        if not isinstance(reply, ipc.Loaded):
            self._odd(reply)
        return reply

    async def load_adapter(
        self, model_revision: str, adapter: AdapterPin, config: dict[str, Any]
    ) -> None:
        """Make an adapter ready beside a loaded model."""
        request = ipc.LoadAdapter(
            id=next(self._ids), model_revision=model_revision, adapter=adapter, config=config
        )
        reply = await self._ask(self._control, request, self._load_timeout_s)
        if not isinstance(reply, ipc.AdapterLoaded):
            self._odd(reply)

    async def unload(self, revision: str) -> None:
        """Free a model revision."""
        request = ipc.Unload(next(self._ids), revision)
        await self._ask(self._control, request, self._load_timeout_s)

    async def run_batch(
        self,
        *,
        model_revision: str,
        operation: Operation,
        adapter: AdapterPin | None,
        inputs: tuple[ipc.Input, ...],
        outputs: tuple[str, ...],
        labels: tuple[str, ...],
        options: dict[str, Any],
        adapters: tuple[AdapterPin | None, ...] = (),
        trace: str = "",
    ) -> ipc.BatchDone:
        """Run one batch. Raises the error of the reply, or `ExecutorLost`."""
        request = ipc.RunBatch(
            id=next(self._ids),
            model_revision=model_revision,
            operation=operation,
            adapter=adapter,
            inputs=inputs,
            outputs=outputs,
            labels=labels,
            options=options,
            adapters=adapters,
            trace=trace,
        )
        reply = await self._ask(self._batches, request, self._batch_timeout_s)
        if not isinstance(reply, ipc.BatchDone):
            self._odd(reply)
        return reply

    async def _ask(
        self, transport: asyncio.Transport | None, request: ipc.Request, timeout_s: float
    ) -> ipc.Reply:
        if transport is None:
            raise self._lost()
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[ipc.Reply] = loop.create_future()
        self._waiting[request.id] = reply
        overdue = loop.call_later(
            timeout_s, self._overdue, transport, f"a {type(request).__name__}", timeout_s
        )
        try:
            # What the connection may have to keep is bounded by what the device may have in hand.
            transport.write(ipc.encode(request))
            answer = await reply
        finally:
            overdue.cancel()
            self._waiting.pop(request.id, None)
        if isinstance(answer, ipc.Failed):
            if answer.code == ExecutorLost.code:
                # It is stopping: what it has not begun is as lost as if it were gone already.
                raise ExecutorLost(answer.message)
            raise error_for(answer.code, answer.message, retry_after_s=answer.retry_after_s)
        return answer

    def _overdue(self, transport: asyncio.Transport, what: str, timeout_s: float) -> None:
        # A device that does not come back cannot be told to stop: only a new process helps. The end
        # of the connection fails this request with all others.
        self.last_loss = f"{what} took longer than {timeout_s:g} s"
        transport.abort()

    def _odd(self, reply: ipc.Reply) -> NoReturn:
        raise OurFault(f"model execution answered with an unexpected {type(reply).__name__}")

    def _lost(self) -> ExecutorLost:
        return ExecutorLost(f"model execution is not there: {self.last_loss or 'not connected'}")

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self._converse()
            except (FileNotFoundError, ConnectionRefusedError):
                self.last_loss = self.last_loss or _ABSENT
            except (OSError, EOFError) as error:
                # Who dropped the connection has said why; that nobody was there yet says nothing.
                if self.last_loss in {"", _ABSENT}:
                    self.last_loss = str(error) or type(error).__name__
            except _Unreadable as error:
                self.last_loss = str(error)
            finally:
                self._fail_waiting()
            await asyncio.sleep(self._reconnect_s)

    async def _converse(self) -> None:
        """Connect, greet, and stay until a connection is gone. Raises why it is."""
        links: list[_Link] = []
        over = asyncio.Event()
        try:
            async with asyncio.timeout(self._ping_timeout_s):
                control, hello = await self._linked(links, over)
                batches = control
                if hello.batches_apart:
                    batches, _ = await self._linked(links, over)
                    await self._ask(
                        batches.transport, ipc.Batches(next(self._ids)), self._ping_timeout_s
                    )
            self._hello = hello
            self._control, self._batches = control.transport, batches.transport
            self.connections += 1
            self.last_loss = ""
            self._connected.set()
            self._tell()
            await over.wait()
            raise next(link.lost for link in links if link.lost is not None)
        finally:
            for link in links:
                link.transport.abort()

    async def _linked(self, links: list[_Link], over: asyncio.Event) -> tuple[_Link, ipc.Hello]:
        _, link = await asyncio.get_running_loop().create_unix_connection(
            lambda: _Link(self._settle, over), self._socket_path
        )
        links.append(link)
        return link, _hello(await link.first())

    def _settle(self, reply: ipc.Reply) -> None:
        if isinstance(reply, ipc.Loaded | ipc.Pong) and reply.resident is not None:
            self._say_resident(frozenset(reply.resident))
        waiting = self._waiting.get(reply.id)
        # A reply that nobody waits for belongs to a request that was cancelled here.
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def _say_resident(self, resident: frozenset[str]) -> None:
        if resident != self.resident:
            self.resident = resident
            for callback in self._on_resident:
                callback()

    async def _keep_pinging(self) -> None:
        while True:
            await asyncio.sleep(self._ping_interval_s)
            self._pinged_at = asyncio.get_running_loop().time()
            # A ping without an answer drops the connection, and so does its work by failing.
            with suppress(SIEError):
                ping = ipc.Ping(next(self._ids))
                pong = await self._ask(self._control, ping, self._ping_timeout_s)
                self.downloading = pong.downloading if isinstance(pong, ipc.Pong) else {}
            self._pinged_at = None

    def _fail_waiting(self) -> None:
        was_connected = self.connected
        self._connected.clear()
        self._control = self._batches = self._hello = self.resident = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._lost())
        if was_connected:
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _hello(reply: ipc.Reply) -> ipc.Hello:
    if not isinstance(reply, ipc.Hello):
        raise _Unreadable(f"the first frame is a {type(reply).__name__}, not a Hello")
    if reply.v > ipc.IPC_VERSION:
        raise _Unreadable(f"it speaks version {reply.v}; this sidecar knows {ipc.IPC_VERSION}")
    return reply
