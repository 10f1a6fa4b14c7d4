"""The processes of a simulated world that serves: gateways, sidecars and their execution.

*shell.* Inside run the gateway's own parts and the whole worker of production, each wired as its
main wires it. Given to them are the broker's client, the clocks and a follower that is told each
epoch late. HTTP is not here: a client's task calls what the routes call.
"""

import asyncio
from typing import Final, cast

from nats.aio.client import Client

from sie_core.chain import Position
from sie_core.registry import Registry
from sie_core.resolver import Resolver
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.parts import Parts, make_inference, opened_parts
from sie_gateway.request.inference import Inference
from sie_gateway.settings import GatewaySettings
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.streams.payload_store import PayloadStore
from sie_runtime.streams.work_queue import WorkQueue
from sie_testing.serving.execution import Device
from sie_testing.serving.ground import ServingGround
from sie_testing.serving.lease_table import WayToLeases
from sie_testing.serving.models import FUSED
from sie_testing.serving.queue_client import QueueClient
from sie_testing.stage.loop import Host
from sie_testing.stage.process import Process
from sie_worker.settings import WorkerSettings
from sie_worker.worker import Worker

__all__ = ["ExecutionProcess", "Following", "GatewayProcess", "WorkerProcess", "life_of"]

_EMPTY: Final = Resolver.of(Registry.EMPTY, None)
_LAG_S: Final = 0.6
"""Several requests long: gateway and worker are often at different epochs, as the laws need."""


def life_of(host: Host) -> str:
    """One life of a process, for everybody who tells of it."""
    return f"{host.name}/{host.life}"


class Following:
    """A follower that comes to each epoch a while after it was written; one life's."""

    def __init__(self, world: ServingGround, host: Host) -> None:
        self._world = world
        self._host = host
        self._moved = asyncio.Event()
        self.resolver = _EMPTY
        self.worker: Worker | None = None
        """The one that is told of every advance."""

    @property
    def position(self) -> Position | None:
        """The newest applied position."""
        return self.resolver.position

    @property
    def not_ready(self) -> str:
        """The reason why its registry is not to be counted on; empty where it is."""
        return "" if self.position is not None else "no registry is loaded yet"

    def hear(self) -> None:
        """Something was written: come to it, in a while."""
        lag_s = self._world.network_rng.random() * _LAG_S
        self._world.loop.call_later(lag_s, self._advance, context=self._host.context)

    def _advance(self) -> None:
        if self._host.alive and self.resolver is not self._world.history.head:
            self.resolver = self._world.history.head
            self._moved.set()
            if self.worker is not None:
                self.worker.advance(self.resolver)

    async def wait_for_epoch(self, log_id: str, epoch: int, *, timeout_s: float) -> bool:
        """As the follower does."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.position is None or self.position.epoch < epoch:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True


class _Serving(Process[ServingGround]):
    """A process that is on the bus and follows the log."""

    following: Following | None = None
    skew_s = 0.0
    """The seconds that its clock is ahead of the world's."""

    def wall(self) -> float:
        """Unix seconds, by this host's clock."""
        if self.skew_s:
            self.world.skewed(self.name)
        return self.world.wall() + self.skew_s

    async def _bus(self, host: Host, role: str) -> Bus:
        world = self.world
        self.client = client = QueueClient(world.broker, host, world.network_rng)
        world.lives[world.broker.connections] = life_of(host)
        return await Bus.connect(
            BusSettings(), role=role, process_id=self.name, client=cast(Client, client)
        )

    def bury(self) -> None:
        """Nothing of it answers any more."""
        self.following = None


class GatewayProcess(_Serving):
    """A gateway, as far as a request goes behind its routes."""

    def __init__(self, world: ServingGround, name: str, settings: GatewaySettings) -> None:
        super().__init__(world, name)
        self._settings = settings
        self.inference: Inference | None = None
        self.parts: Parts | None = None

    async def main(self, host: Host) -> None:
        """Take requests until `stop`."""
        world, settings = self.world, self._settings
        bus = await self._bus(host, "gateway")
        assert self.client is not None, "it was made with the bus"
        following = self.following = Following(world, host)

        def resolver() -> Resolver:
            return following.resolver

        async with opened_parts(
            settings,
            bus,
            WorkQueue(bus, settings),
            asker=bus,
            gateway_id=f"{self.name}-{host.life}",
            objects=PayloadStore(bus, settings),
            leases=WayToLeases(world.leases, world.broker, self.client, world.breaks),
            resolver=resolver,
            wall=self.wall,
            rng=world.network_rng,
        ) as parts:
            bus.on_reconnect(parts.watch.begin)
            bus.on_reconnect(parts.lost_jobs.suspect)
            self.parts = parts
            self.inference = make_inference(
                settings,
                parts,
                resolver,
                asked_for=lambda _model_id, _adapter: None,
                loads=KindLoads(),
                wall=self.wall,
            )
            following.hear()
            await parts.run(self.stop)
        await bus.close()

    def bury(self) -> None:
        """Its clients' connections are gone."""
        super().bury()
        self.inference = self.parts = None


class WorkerProcess(_Serving):
    """A sidecar: the whole worker of production."""

    def __init__(self, world: ServingGround, name: str, settings: WorkerSettings) -> None:
        super().__init__(world, name)
        self._settings = settings
        self.worker: Worker | None = None

    async def main(self, host: Host) -> None:
        """Work until `stop`."""
        world = self.world
        bus = await self._bus(host, "worker")
        following = self.following = Following(world, host)
        self.worker = worker = Worker(
            self._settings,
            worker_id=self.name,
            bus=bus,
            replica=following,
            report_soon=lambda: None,
            life=f"{world.broker.connections:016x}",
        )
        following.worker = worker
        following.hear()
        await worker.run(self.stop)
        await bus.close()

    def bury(self) -> None:
        """Nothing is held any more."""
        super().bury()
        self.worker = None


class ExecutionProcess(Process[ServingGround]):
    """Model execution behind one socket."""

    def __init__(self, world: ServingGround, name: str, path: str) -> None:
        super().__init__(world, name)
        self.path = path
        self.device: Device | None = None
        self.slowness = 1.0

    async def main(self, host: Host) -> None:
        """Run what is asked until `stop`."""
        world = self.world
        device = self.device = Device(
            host,
            world.device_rng,
            fuses=lambda revision: world.history.name_of[revision] == FUSED,
            on_run=world.runs,
            on_done=world.laws.ran,
            on_lethal=lambda: world.later(0.0, self._die),
        )
        device.slowness = self.slowness
        world.loop.sockets[self.path] = device
        await device.run()

    def bury(self) -> None:
        """Its socket is gone, and every connection is cut."""
        self.world.loop.sockets.pop(self.path, None)
        if self.device is not None:
            self.device.end()
            self.device = None

    def _die(self) -> None:
        if self.kill():
            self.world.laws.died()

    def slow_down(self, slowness: float) -> None:
        """From now on everything takes so many times as long."""
        self.slowness = slowness
        if self.device is not None:
            self.device.slowness = slowness
