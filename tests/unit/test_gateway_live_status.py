"""`/ws/cluster-status` over a real socket, by the protocol library that the server uses too."""

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_world import World, gateway_world, heartbeat
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, RejectConnection, Request
from wsproto.events import TextMessage as Text

from sie_gateway.http.live_status import CLUSTER_STATUS, LiveStatus
from sie_gateway.http.rules import role_of
from sie_gateway.http.views import LongView, Rows
from sie_runtime.access.access import Access, AccessSettings
from sie_runtime.access.gate import Gate
from sie_runtime.process.lifecycle import serve_http


class Client:
    """One WebSocket, event by event."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    async def ask(self, path: str) -> None:
        self._writer.write(self._protocol.send(Request(host="gateway", target=path)))
        await self._writer.drain()

    async def next(self) -> Event:
        async with asyncio.timeout(5):
            while not self._events:
                data = await self._reader.read(65536)
                self._protocol.receive_data(data or None)
                self._events += list(self._protocol.events())
        return self._events.pop(0)

    async def status(self) -> dict[str, Any]:
        event = await self.next()
        assert isinstance(event, Text), event
        told: dict[str, Any] = json.loads(event.data)
        return told

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def served(world: World, app: Any) -> AsyncIterator[Client]:
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve_http(
            app,
            host="127.0.0.1",
            port=0,
            stop=world.stop,
            on_listening=listening.set_result,
            websockets=True,
        )
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", await listening)
    client = Client(reader, writer)
    try:
        yield client
    finally:
        await client.close()
        world.stop.set()
        await serving


async def test_the_status_comes_at_once_and_again_and_ends_when_the_gateway_stops() -> None:
    async with gateway_world(live_status_s=0.02) as world, served(world, world.app) as client:
        await client.ask("/ws/cluster-status")
        assert isinstance(await client.next(), AcceptConnection)
        first = await client.status()
        assert (first["type"], len(first["workers"])) == ("gateway", 1)
        await world.hear(heartbeat("w2"))
        while len((await client.status())["workers"]) == 1:
            continue
        world.stop.set()
        while isinstance(last := await client.next(), Text):
            continue
        assert isinstance(last, CloseConnection)
        # Going away, by the page; or service restart, where the server is quicker.
        assert last.code in {1001, 1012}


async def test_another_path_and_a_missing_token_are_refused(tmp_path) -> None:
    async with gateway_world() as world, served(world, world.app) as client:
        await client.ask("/ws/nothing")
        assert isinstance(await client.next(), RejectConnection)
    file = tmp_path / "tokens"
    file.write_text('{"tokens":[]}')
    access = Access(AccessSettings(auth_file=file))
    async with gateway_world() as world, served(world, Gate(world.app, access, role_of)) as client:
        await client.ask("/ws/cluster-status")
        refused = await client.next()
        assert isinstance(refused, RejectConnection)
        assert refused.status_code == 403


class Watcher:
    """One WebSocket, in ASGI's words."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.told = asyncio.Event()
        self.left = asyncio.Event()
        self._has_come = False

    async def receive(self) -> dict[str, Any]:
        if not self._has_come:
            self._has_come = True
            return {"type": "websocket.connect"}
        await self.left.wait()
        return {"type": "websocket.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "websocket.send":
            self.told.set()

    def kinds(self) -> list[str]:
        """The messages that it was sent, in order."""
        return [message["type"].removeprefix("websocket.") for message in self.sent]


@given(
    cut=st.integers(0, 2), leaving=st.integers(0, 2), staying=st.integers(0, 2), first=st.booleans()
)
async def test_one_view_is_made_for_all_who_watch_and_who_leaves_takes_it_from_nobody(
    cut, leaving, staying, first
) -> None:
    """`first`: those who are cut off while it is made came first."""
    ends = ["cut off"] * cut + ["leaves"] * leaving + ["stays"] * (staying + 1)
    making = asyncio.Event()
    made: list[LongView] = []

    def view() -> LongView:
        # Each of its lists takes a turn of the loop, in which watchers are cut off.
        rows = Rows(["a"], lambda key: {"of": key})
        made.append(LongView({"number": len(made)}, {f"list {place}": rows for place in range(20)}))
        making.set()
        return made[-1]

    stop = asyncio.Event()
    live = LiveStatus(view, interval_s=3600.0, stop=stop, watchers_max=9)
    scope = {"path": CLUSTER_STATUS, "headers": []}
    watchers = [(end, Watcher()) for end in (ends if first else reversed(ends))]
    tasks = [
        (end, each, asyncio.create_task(live(scope, each.receive, each.send)))
        for end, each in watchers
    ]
    await asyncio.wait_for(making.wait(), 5)
    for task in [task for end, _, task in tasks if end == "cut off"]:
        task.cancel()
    for end, each, task in [each for each in tasks if each[0] != "cut off"]:
        await asyncio.wait_for(each.told.wait(), 5)
        if end == "leaves":
            each.left.set()
            await task
    stop.set()
    await asyncio.gather(*[task for _, _, task in tasks], return_exceptions=True)
    assert len(made) == 1
    told = {"cut off": ["accept"], "leaves": ["accept", "send"]}
    for end, each in watchers:
        assert each.kinds() == told.get(end, ["accept", "send", "close"])
