"""Words that the writer once signed are said again by who kept them: heads, entries, snapshots.

Each of them is genuine. None takes a replica back, stops it, or makes it look fresh.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.support.log_world import (
    Replica,
    Writer,
    connected,
    follower,
    metric,
    nowhere,
    same,
    writer,
)
from tests.support.nats import nats_server
from tests.support.polling import until

from sie_config.offline.keys import change_key
from sie_core.chain import Position
from sie_runtime.broker.bus import Bus
from sie_runtime.http.bodies import Application, Receive, Scope, Send
from sie_runtime.process.lifecycle import serve_http
from sie_runtime.streams.log_stream import entry_subject
from sie_schemas.fleet import Head

pytestmark = pytest.mark.integration

LOG = "log.sqlite"


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with nats_server(tmp_path / "nats") as url:
        yield url


async def kept_heads(one: Writer, *names: str) -> list[Head]:
    """Write these, and keep each head that is announced."""
    heads = []
    for name in names:
        await one.put(name)
        heads.append(one.plane.head)
    return heads


async def said_again(bus: Bus, heads: list[Head]) -> None:
    """Newest first, each several times, as a genuine message each."""
    for head in [*reversed(heads), *heads] * 5:
        await bus.publish(f"sie.config.head.{head.log_id}", msgspec.json.encode(head))
    await bus.client.flush()


def seen_epochs(replica: Replica) -> list[int]:
    return [each.position.epoch for each in replica.seen if each.position is not None]


async def unmoved(replica: Replica, position: Position) -> None:
    """The replica is where it was, was nowhere else, and grows stale."""
    await replica.state("stale")
    assert replica.follower.position == position
    assert seen_epochs(replica) == sorted(seen_epochs(replica))


async def test_old_heads_move_no_replica_and_keep_none_fresh(tmp_path: Path, url: str) -> None:
    data, kept = tmp_path / "data", tmp_path / "replica"
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connected(url, "config"))
        async with writer(data, url, bookmark_s=0.0) as one:
            port = int(one.url.rpartition(":")[2])
            replica = await stack.enter_async_context(
                follower(url, one.url, kept, replica_stale_after_s=1.0)
            )
            heads = await kept_heads(one, "a", "b", "c")
            await same(one, replica)
            await said_again(bus, heads)
            heads += await kept_heads(one, "d")
            await same(one, replica)
            position = replica.follower.position
            assert position is not None
        # The writer is gone. Its older words do not speak for it.
        speaking = asyncio.create_task(again_and_again(bus, heads[:-1]))
        await unmoved(replica, position)
        speaking.cancel()
        await stack.aclose()
    async with (
        connected(url, "config") as bus,
        follower(url, f"http://127.0.0.1:{port}", kept) as replica,
    ):
        await until(lambda: replica.follower.position == position)
        speaking = asyncio.create_task(again_and_again(bus, heads[:-1]))
        await unmoved(replica, position)
        speaking.cancel()
    changed = change_key(data / LOG, key_file=None, actor="ann", reason="yearly")
    assert changed.sound
    async with (
        writer(data, url, port=port, bookmark_s=0.0) as one,
        connected(url, "config") as bus,
        follower(url, one.url, kept) as replica,
    ):
        await one.put("e")
        await same(one, replica)
        forged = metric("sie_replica_forged_total")
        # Under the old key, of an epoch that was, and of one that has yet to come.
        to_come = msgspec.structs.replace(heads[-1], epoch=one.plane.head.epoch + 5)
        await said_again(bus, [*heads, to_come])
        await until(lambda: metric("sie_replica_forged_total") > forged)
        await one.put("f")
        await same(one, replica)
        assert seen_epochs(replica) == sorted(seen_epochs(replica))


async def again_and_again(bus: Bus, heads: list[Head]) -> None:
    while True:
        await said_again(bus, heads)
        # As often as a real writer's, and oftener than a replica takes to grow stale.
        await asyncio.sleep(0.1)


async def test_old_entries_on_the_stream_are_applied_once(tmp_path: Path, url: str) -> None:
    async with (
        writer(tmp_path / "data", url) as one,
        follower(url, one.url, tmp_path / "replica") as replica,
        connected(url, "config") as bus,
    ):
        await kept_heads(one, "a", "b")
        await same(one, replica)
        lines = await one.http.get("/v1/configs/log", headers={"accept": "application/x-ndjson"})
        log_id = one.plane.head.log_id
        for line in lines.content.splitlines() * 3:
            with contextlib.suppress(Exception):
                await bus.request(entry_subject(log_id), line, timeout_s=1)
        await kept_heads(one, "c")
        await same(one, replica)
        assert seen_epochs(replica) == sorted(set(seen_epochs(replica)))


class Recorded:
    """A writer's answers as they were once, whatever is asked now; entries are gone."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._answers: dict[str, bytes] = {}

    async def keep(self, one: Writer, path: str) -> None:
        """Record what is told now."""
        answer = await one.http.get(path)
        assert answer.status_code == 200
        self._answers[path] = answer.content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        path = scope["path"].replace("/replicas", "/epoch")
        self.asked[path] += 1
        start = {"type": "http.response.start", "status": 200 if path in self._answers else 410}
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": self._answers.get(path, b"")})


@contextlib.asynccontextmanager
async def served(app: Application, port: int) -> AsyncIterator[None]:
    stop, listening = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(
        serve_http(
            app,
            host="127.0.0.1",
            port=port,
            stop=stop,
            drain_s=0.1,
            on_listening=lambda _port: listening.set(),
        )
    )
    await listening.wait()
    try:
        yield
    finally:
        stop.set()
        await serving


@pytest.mark.parametrize("key", ["the same key", "a changed key"])
@pytest.mark.parametrize("head", ["old", "new"])
async def test_an_old_snapshot_at_the_writers_address_takes_nobody_back(
    tmp_path: Path, url: str, key: str, head: str
) -> None:
    """With a new head, whose entries are held back, the replica asks for the snapshot."""
    data, kept, recorded = tmp_path / "data", tmp_path / "replica", Recorded()
    async with writer(data, url) as one:
        port = int(one.url.rpartition(":")[2])
        await kept_heads(one, "a")
        await recorded.keep(one, "/v1/configs/export")
        await recorded.keep(one, "/v1/configs/epoch")
    if key == "a changed key":
        assert change_key(data / LOG, key_file=None, actor="ann", reason="yearly").sound
    async with writer(data, url, port=port) as one:
        await kept_heads(one, "b", "c")
        async with follower(url, one.url, kept) as replica:
            await same(one, replica)
        position = one.plane.sequencer.position
        await kept_heads(one, "d")
        if head == "new":
            await recorded.keep(one, "/v1/configs/epoch")
    begun = time.monotonic()
    async with (
        served(recorded, port),
        follower(nowhere(), f"http://127.0.0.1:{port}", kept) as replica,
    ):
        path = "/v1/configs/export" if head == "new" else "/v1/configs/epoch"
        await until(lambda: recorded.asked[path] >= 5)
        assert replica.follower.position == position
        assert set(seen_epochs(replica)) == {position.epoch}
        # What comes at once, and is no news, has no replica ask without a pause.
        assert recorded.asked.total() < 20 + 40 * (time.monotonic() - begun), recorded.asked
    async with (
        writer(data, url, port=port) as one,
        follower(url, one.url, kept) as replica,
    ):
        await same(one, replica)
