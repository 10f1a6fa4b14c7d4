"""A writer and followers around a real broker and real HTTP, in one loop.

*shell.* `writer` is a whole control plane on a folder with its HTTP server on a free port;
`follower` is the shell that gateways and workers run. Time constants are fractions of a second.
Restarting either on its folder is what a process does after a crash.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
from prometheus_client import REGISTRY
from tests.support.config_writer import put, settings_for
from tests.support.polling import until

from sie_config.http.api import build_app
from sie_config.stream.queues import keep_queues
from sie_config.writer.writer_state import describe
from sie_config.writer_process import ControlPlane
from sie_core.resolver import Resolver
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.follower.follower import Follower
from sie_runtime.follower.settings import FollowerSettings
from sie_runtime.process.lifecycle import serve_http
from sie_runtime.process.named_requests import NamedRequests
from sie_runtime.streams.log_stream import stream_name
from sie_testing.contracts.memory_stream import MemoryStream

__all__ = [
    "Replica",
    "Writer",
    "admin",
    "follower",
    "free_port",
    "metric",
    "nowhere",
    "same",
    "writer",
]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nowhere() -> str:
    """The URL of a broker that is not there."""
    return f"nats://127.0.0.1:{free_port()}"


@contextlib.asynccontextmanager
async def connected(url: str, role: str, **user: Any) -> AsyncIterator[Bus]:
    """A bus; without a broker it goes on connecting."""
    settings = BusSettings(nats_url=url, nats_reconnect_wait_s=0.05, **user)
    bus = await Bus.connect(settings, role=role, process_id="test")
    try:
        yield bus
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def admin(url: str, **user: Any) -> AsyncIterator[Any]:
    """JetStream as an operator, or an intruder, uses it."""
    async with connected(url, "config", **user) as bus:
        assert await bus.wait_connected(5)
        yield bus.client.jetstream()


@dataclass
class Writer:
    """A control plane that serves HTTP."""

    plane: ControlPlane
    url: str
    http: httpx.AsyncClient

    @property
    def stream(self) -> str:
        """The name of its stream."""
        return stream_name(self.plane.sequencer.position.log_id)

    @property
    def reason(self) -> str:
        """The reason why it takes no writes; empty when it does."""
        return str(describe(self.plane.sequencer.state).get("reason", ""))

    async def put(self, *model_ids: str) -> int:
        """Write models, one entry each; gives the last epoch."""
        for model_id in model_ids:
            await put(self.plane, model_id)
        return self.plane.sequencer.position.epoch

    async def burst(self, count: int, prefix: str = "m") -> int:
        """Write so many models from many clients at once; gives the last epoch."""
        for start in range(0, count, 500):
            names = [f"{prefix}{n}" for n in range(start, min(count, start + 500))]
            await asyncio.gather(*(put(self.plane, name) for name in names))
        return self.plane.sequencer.position.epoch

    async def published(self) -> None:
        """Wait until the stream has it all."""
        plane = self.plane
        await until(lambda: plane.broadcast.is_published(plane.sequencer.position.epoch))


@contextlib.asynccontextmanager
async def writer(
    folder: Path,
    nats_url: str,
    *,
    port: int = 0,
    user: dict[str, Any] | None = None,
    stream: MemoryStream | None = None,
    **changes: Any,
) -> AsyncIterator[Writer]:
    """A running writer on a folder; with a `stream` in memory, it publishes to that one."""
    settings = settings_for(folder, **({"bookmark_s": 0.1, "recovery_retry_s": 0.1} | changes))
    stop, loops_stop = asyncio.Event(), asyncio.Event()
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with connected(nats_url, "config", **(user or {})) as bus:
        # Without a broker this returns at its deadline, which a start has too.
        await bus.wait_connected(settings.roll_call_s)
        plane = await ControlPlane.open(
            settings, bus=bus, stream_of=(lambda _log_id: stream) if stream is not None else None
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(plane.drain_on(stop))
                tasks.create_task(plane.run(loops_stop))
                tasks.create_task(keep_queues(plane.sequencer, plane.settings, bus, loops_stop))
                app = build_app(plane)
                serving = tasks.create_task(
                    serve_http(
                        NamedRequests(app, app.routes),
                        host="127.0.0.1",
                        port=port,
                        stop=stop,
                        drain_s=1,
                        on_listening=listening.set_result,
                    )
                )
                url = f"http://127.0.0.1:{await listening}"
                try:
                    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                        yield Writer(plane, url, http)
                finally:
                    stop.set()
                    await serving
                    loops_stop.set()
        finally:
            await plane.close()


@dataclass
class Replica:
    """A follower that runs, and every resolver that a reader of it has seen."""

    follower: Follower
    bus: Bus
    seen: list[Resolver] = field(default_factory=list)

    async def at(self, epoch: int) -> None:
        """Wait until it serves an epoch."""
        await until(lambda: self.epoch >= epoch)

    async def state(self, name: str) -> None:
        """Wait for a state."""
        await until(lambda: self.follower.state == name)

    @property
    def epoch(self) -> int:
        """The epoch that it serves."""
        here = self.follower.position
        return here.epoch if here is not None else 0


QUICK: dict[str, Any] = {
    "replica_tick_s": 0.02,
    "replica_retry_s": 0.05,
    "replica_retry_max_s": 0.4,
    "replica_poll_s": 2.0,
    "replica_long_poll_s": 5.0,
    "replica_bus_silent_s": 0.5,
    "replica_report_s": 0.3,
    "replica_report_min_s": 0.01,
    "replica_report_http_s": 0.4,
    "replica_stale_after_s": 1.0,
}


@contextlib.asynccontextmanager
async def follower(
    nats_url: str,
    config_url: str,
    folder: Path | None = None,
    *,
    role: Literal["gateway", "worker"] = "gateway",
    name: str = "g1",
    user: dict[str, Any] | None = None,
    **changes: Any,
) -> AsyncIterator[Replica]:
    """A running follower; with a folder it keeps its files there."""
    settings = FollowerSettings(config_url=config_url, replica_dir=folder, **(QUICK | changes))
    stop = asyncio.Event()
    async with connected(nats_url, role, **(user or {})) as bus:
        replica = Replica(Follower(settings, role=role, process_id=name, bus=bus), bus)
        replica.follower.on_change(replica.seen.append)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(replica.follower.run(stop))
            try:
                yield replica
            finally:
                stop.set()


async def same(writer: Writer, *replicas: Replica) -> None:
    """Wait until every replica is fresh at the writer's head, and compare the registries."""
    sequencer = writer.plane.sequencer

    def converged() -> bool:
        return all(
            one.follower.position == sequencer.position and one.follower.state == "fresh"
            for one in replicas
        )

    await until(converged)
    for one in replicas:
        assert one.follower.resolver.registry == sequencer.registry


def metric(name: str, **labels: str) -> float:
    """A metric of this process; 0 where it was never counted."""
    return REGISTRY.get_sample_value(name, labels) or 0.0
