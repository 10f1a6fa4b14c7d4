"""The processes of a simulated world: a writer and its replicas, wired as their mains wire them.

*shell.* A `Process` is a name that lives again after each death. Inside run the control plane and
the follower of production; given to them are the broker's client, the disk, HTTP, the clock and
chance. What a main adds beside this (signals, ports, metrics) is not here.
"""

import asyncio
import contextvars
import random
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, Literal, Protocol, TypeVar, cast

import httpx
from nats.aio.client import Client

from sie_config.log.own_thread import OwnThread
from sie_config.log.store import Store
from sie_config.settings import ConfigSettings
from sie_config.stream.broadcast import streams_of
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import Recovery
from sie_config.writer_process import ControlPlane
from sie_core.catalog import Catalog
from sie_core.chain import Position
from sie_core.registry import Registry
from sie_runtime.broker.bus import Bus, BusSettings
from sie_runtime.follower.follower import Follower
from sie_runtime.follower.log_source import LogSource
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_runtime.follower.settings import FollowerSettings
from sie_schemas.entry import ChangeKind, Entry
from sie_schemas.errors import SIEError
from sie_testing.signing import WRITER_KEY
from sie_testing.simulation.broker import Broker
from sie_testing.simulation.broker_client import BrokerClient
from sie_testing.simulation.evidence import Reach, check_warned, note_vanished
from sie_testing.simulation.folder import Folder
from sie_testing.simulation.http import ConfigClient
from sie_testing.simulation.loop import Host, SimulatedLoop, host_here
from sie_testing.simulation.trace import Trace
from sie_testing.simulation.truth import Broken
from sie_testing.simulation.volume import MemoryHeadFile, MemoryJournal, MemoryLogFile, Volume

if TYPE_CHECKING:
    from sie_testing.simulation.world import World

__all__ = ["Process", "ReplicaProcess", "Surroundings", "WriterProcess", "leaves_of"]

T = TypeVar("T")


class Surroundings(Protocol):
    """The part of a world that every process of it needs."""

    @property
    def rng(self) -> random.Random: ...
    @property
    def network_rng(self) -> random.Random: ...
    @property
    def loop(self) -> SimulatedLoop: ...
    @property
    def context(self) -> contextvars.Context: ...
    @property
    def trace(self) -> Trace: ...
    @property
    def broker(self) -> Broker: ...
    def later(self, delay_s: float, callback: Callable[[], object]) -> None:
        """Do something in a while, by the world's hand."""


W = TypeVar("W", bound=Surroundings)

CONFIG_SETTINGS: Final = ConfigSettings(
    data_dir=Path("/volume"),
    page_entries_max=8,
    tail_entries=8,
    roll_call_s=0.5,
    report_ttl_s=5.0,
    publish_retry_s=0.3,
    publish_verify_s=2.0,
    head_file_s=2.0,
    # They read only: one draws replicas by a chance that no seed decides, one has a real thread.
    self_check_s=0.0,
    lookup_s=0.0,
    group_writes_max=4,
    waiting_writes_max=16,
)
FOLLOWER_SETTINGS: Final = FollowerSettings(
    config_url="http://config",
    replica_tick_s=1.0,
    replica_retry_max_s=2.0,
    replica_stale_after_s=6.0,
    replica_poll_s=4.0,
    replica_long_poll_s=6.0,
    replica_fetch_timeout_s=2.0,
    replica_page_entries=8,
    replica_tail_entries=12,
    replica_queue_max=64,
    replica_report_http_s=8.0,
)


class LoopThread(OwnThread):
    """A thread of its own that is none: the loop does its work, in order."""

    def __init__(self) -> None:
        self._ended = False

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run `call` a little later."""
        return asyncio.get_running_loop().run_in_executor(self, call)  # type: ignore[arg-type]

    def end(self) -> None:
        """Nothing is left behind."""
        self._ended = True


class Process(ABC, Generic[W]):
    """A process and its supervisor. Owner: the world."""

    def __init__(self, world: W, name: str) -> None:
        self.world: Final = world
        self.name: Final = name
        self.lives = 0
        self.host: Host | None = None
        self.client: BrokerClient | None = None
        self.stop = asyncio.Event()
        self.pauses = 0
        self.held_down = False
        """Nobody starts it again until somebody says so."""

    def start(self) -> None:
        """Begin a life, unless it lives or is held down."""
        if self.held_down or (self.host is not None and self.host.alive):
            return
        self.lives += 1
        self.stop = asyncio.Event()
        self.host = Host(self.name, self.lives)
        self.world.loop.create_task(
            self._life(self.host), name=self.name, context=self.host.context
        )

    def end(self) -> bool:
        """Ask it to end; whether anybody was there to ask."""
        self.stop.set()
        return self.host is not None and self.host.alive

    def kill(self) -> bool:
        """End the life at once, as SIGKILL does; whether there was one."""
        host = self.host
        if host is None or not host.alive:
            return False
        self.world.trace.say(self.name, "is killed")
        self.world.loop.kill(host)
        self._died()
        return True

    def pause(self) -> bool:
        """Stop it in its tracks; whether it ran."""
        if self.host is None or not self.host.alive or self.host.paused:
            return False
        self.pauses += 1
        self.world.loop.pause(self.host)
        return True

    def resume(self) -> None:
        """Let it go on."""
        if self.host is not None and self.host.paused:
            self.pauses += 1
            self.world.loop.resume(self.host)

    @abstractmethod
    async def main(self, host: Host) -> None:
        """One life. Raises `SIEError` when only a fresh life may go on."""

    @abstractmethod
    def bury(self) -> None:
        """Take away what the dead life held."""

    async def _life(self, host: Host) -> None:
        self.world.trace.say(self.name, f"starts, life {host.life}")
        try:
            await self.main(host)
            self.world.trace.say(self.name, "ends")
        except Exception as error:
            # The outermost loop of a process: it ends, and its supervisor starts it again.
            self._ended(error)
        if host.alive:
            self.world.loop.call_soon(self.world.loop.kill, host, context=self.world.context)
            self.world.loop.call_soon(self._died, context=self.world.context)

    def _ended(self, error: Exception) -> None:
        leaves = leaves_of(error)
        self.world.trace.say(self.name, f"ends: {'; '.join(str(leaf) for leaf in leaves)}")
        defects = [leaf for leaf in leaves if not isinstance(leaf, SIEError)]
        if defects and self.host is not None and self.host.alive:
            story = "".join(traceback.format_exception(defects[0]))
            self.world.loop.troubles.append(f"{self.name}: {story}")

    def _died(self) -> None:
        if self.client is not None:
            self.world.broker.drop(self.client)
            self.client = None
        self.bury()
        self.world.later(0.1 + self.world.rng.random(), self.start)

    def _new_client(self, host: Host) -> BrokerClient:
        return BrokerClient(self.world.broker, host, self.world.network_rng)

    async def _bus(self, host: Host, role: str) -> Bus:
        self.client = self._new_client(host)
        return await Bus.connect(
            BusSettings(), role=role, process_id=self.name, client=cast(Client, self.client)
        )


def leaves_of(error: Exception) -> list[Exception]:
    """An error, or the errors that a group of tasks ended with."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for part in error.exceptions for leaf in leaves_of(part)]


@dataclass(slots=True)
class _Held:
    file: MemoryLogFile
    volume: Volume


class WriterProcess(Process["World"]):
    """sie-config on a volume. `behind_url`: whether followers and clients reach this one."""

    def __init__(self, world: "World", name: str, volume: Volume) -> None:
        super().__init__(world, name)
        self.volume = volume
        self.plane: ControlPlane | None = None
        self.behind_url = True
        self.reach: Reach | None = None
        self._held: _Held | None = None

    async def main(self, host: Host) -> None:
        """Open the log, begin the tenure, run until `stop`."""
        world, stop = self.world, self.stop
        bus = await self._bus(host, "config")
        note_vanished(world, self.volume)
        self.reach = None
        file = MemoryLogFile(self.volume, on_commit=self._committed)
        self._held = _Held(file, self.volume)
        plane = await self._opened(file, bus)
        self.plane = plane
        watch = world.loop.create_task(self._watch(plane.sequencer), name="watch")
        await plane.start(self._damage)
        if self.behind_url:
            world.calls.serving = (host, plane)
        world.trace.say(self.name, f"serves {plane.sequencer.position}")
        await plane.run(stop)
        watch.cancel()
        await plane.close()
        await bus.close()

    def bury(self) -> None:
        """Give up the lock and the URL."""
        if self._held is not None:
            self._held.file.close()
        serving = self.world.calls.serving
        if serving is not None and not serving[0].alive:
            self.world.calls.serving = None
        self.plane, self._held = None, None

    def _committed(self, entries: Sequence[Entry]) -> None:
        world = self.world
        # What it takes back is no beginning of its own: whoever made it has answered for that.
        own = [entry for entry in entries if entry.hash not in world.truth.entries]
        world.truth.committed(entries)
        for entry in own:
            if any(change.kind == ChangeKind.TERM_BEGIN for change in entry.changes):
                try:
                    check_warned(world, self, entry)
                except Broken as error:
                    world.breaks(error)

    async def _watch(self, sequencer: Sequencer) -> None:
        while not isinstance(sequencer.state, Recovery):
            await sequencer.moved()
        self.world.count("writer: recovery")
        self.world.trace.say(self.name, f"is in recovery: {sequencer.state.reason}")
        if self.world.has_one_writer():
            reason = sequencer.state.reason
            self.world.breaks(Broken(f"{self.name} is in recovery without a cause: {reason}"))

    async def _opened(self, file: MemoryLogFile, bus: Bus) -> ControlPlane:
        world = self.world
        store = Store(file, LoopThread())
        replayed = await store.replay()
        self._damage = replayed.damage
        journal = MemoryJournal(self.volume, tail_entries=CONFIG_SETTINGS.tail_entries)
        sequencer = Sequencer(
            store,
            journal,
            replayed,
            now_us=world.now_us,
            new_id=world.new_id,
            group_writes_max=CONFIG_SETTINGS.group_writes_max,
            waiting_writes_max=CONFIG_SETTINGS.waiting_writes_max,
            signing_key=WRITER_KEY,
        )
        return ControlPlane(
            CONFIG_SETTINGS,
            store,
            journal,
            sequencer,
            head_file=MemoryHeadFile(self.volume, file),
            bus=bus,
            stream_of=streams_of(bus, CONFIG_SETTINGS),
            clock=world.loop.time,
        )


class ReplicaProcess(Process["World"]):
    """A gateway or a worker, as far as it follows the log."""

    def __init__(self, world: "World", name: str, role: Literal["gateway", "worker"]) -> None:
        super().__init__(world, name)
        self.folder = Folder()
        self.follower: Follower | None = None
        self.role: Literal["gateway", "worker"] = role
        self._before: Position | None = None
        self._spoilt = False

    async def main(self, host: Host) -> None:
        """Follow until `stop`."""
        world, settings = self.world, FOLLOWER_SETTINGS
        bus = await self._bus(host, self.role)
        source = LogSource(
            settings.config_url,
            bus,
            timeout_s=settings.replica_fetch_timeout_s,
            page_entries=settings.replica_page_entries,
            client=cast(
                httpx.AsyncClient,
                ConfigClient(world.calls, self.name, timeout_s=settings.replica_fetch_timeout_s),
            ),
        )
        follower = Follower(
            settings,
            role=self.role,
            process_id=self.name,
            bus=bus,
            source=source,
            files=ReplicaFiles(self.folder.path(), tail_entries_min=settings.replica_tail_entries),
            clock=world.loop.time,
            rng=world.rng,
            life=world.new_life(),
        )
        self.follower, self._before = follower, None
        follower.on_change(self._changed)
        await follower.run(self.stop)
        await bus.close()

    @property
    def registry(self) -> Registry:
        """The registry that it holds in memory; empty while it has none."""
        return self.follower.catalog.registry if self.follower is not None else Registry.EMPTY

    def spoil_registry(self, registry: Registry) -> None:
        """Put another one into its memory, under the position that it stands at."""
        if self.follower is not None:
            self._spoilt = True
            self.follower._replica.registry = registry

    def bury(self) -> None:
        """Nothing of it answers any more."""
        self.follower = None

    def _changed(self, catalog: Catalog) -> None:
        if not host_here().alive:
            return
        assert catalog.position is not None, "a replica serves a registry without a position"
        if self._spoilt and catalog.position == self._before:
            # What had gone bad in memory is replaced: that is no way back.
            self._before = None
        self._spoilt = False
        try:
            self.world.truth.served(self.name, self._before, catalog.position, catalog.registry)
        except Broken as error:
            self.world.breaks(error)
        self.world.trace.say(self.name, f"serves {catalog.position}")
        self._before = catalog.position
