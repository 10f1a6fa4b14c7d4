"""The processes of a simulated world: a writer and its replicas, wired as their mains wire them.

*shell.* Inside run the control plane and the follower of production. Given to them are the broker's
client, the disk, HTTP, the clock and chance. Signals, ports and metrics of a main are not here.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeVar, cast

import httpx

from sie_config.log.own_thread import OwnThread
from sie_config.log.store import Store
from sie_config.settings import ConfigSettings
from sie_config.start.opened_log import OpenedLog
from sie_config.stream.broadcast import streams_of
from sie_config.writer.sequencer import Sequencer
from sie_config.writer.writer_state import Recovery
from sie_config.writer_process import ControlPlane
from sie_core.chain import Position
from sie_core.registry import Registry
from sie_core.resolver import Resolver
from sie_runtime.broker.bus import Bus
from sie_runtime.follower.follower import Follower
from sie_runtime.follower.log_source import LogSource
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_runtime.follower.settings import FollowerSettings
from sie_schemas.entry import ChangeKind, Entry
from sie_testing.simulation.folder import Folder
from sie_testing.simulation.ground import Asked, Ground
from sie_testing.simulation.http import ConfigClient
from sie_testing.simulation.volume import MemoryHeadFile, MemoryJournal, MemoryLogFile, Volume
from sie_testing.stage.broken import Broken
from sie_testing.stage.loop import Host, host_here
from sie_testing.stage.process import Process

__all__ = ["LoopThread", "ReplicaProcess", "WriterProcess"]

T = TypeVar("T")


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
        """Without the thread that the other one begins."""

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run `call` a little later."""
        return asyncio.get_running_loop().run_in_executor(self, call)  # type: ignore[arg-type]

    def end(self) -> None:
        """Nothing is left behind."""


class WriterProcess(Process[Ground]):
    """sie-config on a volume. `behind_url`: whether followers and clients reach this one."""

    def __init__(self, world: Ground, name: str, volume: Volume) -> None:
        super().__init__(world, name)
        self.volume = volume
        self.plane: ControlPlane | None = None
        self.behind_url = True
        self.skew_us = 0
        """The microseconds that the clock of its host is ahead of the world's."""
        self.asked = Asked()
        self._file: MemoryLogFile | None = None

    async def main(self, host: Host) -> None:
        """Open the log, begin the tenure, run until `stop`."""
        world, stop = self.world, self.stop
        bus = await self._bus(host, "config")
        world.opened(self.volume)
        if self.volume.key in self.volume.older_keys:
            world.took_effect("key-restored")
        self.asked = Asked()
        file = MemoryLogFile(self.volume, on_commit=self._committed)
        self._file = file
        self.plane = plane = await self._opened(file, bus)
        watch = world.loop.create_task(self._watch(plane.sequencer), name="watch")
        await plane.start()
        if self.behind_url:
            world.calls.serving = (host, plane)
        world.trace.say(self.name, f"serves {plane.sequencer.position}")
        await plane.run(stop)
        watch.cancel()
        await plane.close()
        await bus.close()

    def bury(self) -> None:
        """Give up the lock and the URL."""
        if self._file is not None:
            self._file.close()
        serving = self.world.calls.serving
        if serving is not None and not serving[0].alive:
            self.world.calls.serving = None
        self.plane, self._file = None, None

    def _committed(self, entries: Sequence[Entry]) -> None:
        world = self.world
        # What it takes back is no beginning of its own: whoever made it has answered for that.
        own = [entry for entry in entries if entry.hash not in world.truth.entries]
        if own and self.skew_us:
            world.took_effect("clocks-apart")
        try:
            world.truth.committed(entries)
        except Broken as error:
            world.breaks(error)
        if own and not self.volume.names_its_key:
            world.breaks(Broken(f"{self.name} writes {own[0].epoch} under an older key"))
        for entry in own:
            if any(change.kind == ChangeKind.TERM_BEGIN for change in entry.changes):
                world.begins(self.name, self.volume, self.asked, entry)

    async def _watch(self, sequencer: Sequencer) -> None:
        while not isinstance(sequencer.state, Recovery):
            await sequencer.moved()
        self.world.count("writer: recovery")
        self.world.trace.say(self.name, f"is in recovery: {sequencer.state.reason}")
        if not self.volume.names_its_key:
            self.world.count("check: a writer with an older key writes nothing")
        elif self.world.has_one_writer():
            reason = sequencer.state.reason
            self.world.breaks(Broken(f"{self.name} is in recovery without a cause: {reason}"))

    async def _opened(self, file: MemoryLogFile, bus: Bus) -> ControlPlane:
        world = self.world
        store = Store(file, LoopThread())
        replayed = await store.replay()
        journal = MemoryJournal(self.volume, tail_entries=CONFIG_SETTINGS.tail_entries)
        sequencer = Sequencer(
            store,
            journal,
            replayed,
            now_us=lambda: world.now_us() + self.skew_us,
            new_id=world.new_id,
            group_writes_max=CONFIG_SETTINGS.group_writes_max,
            waiting_writes_max=CONFIG_SETTINGS.waiting_writes_max,
            signing_key=self.volume.key,
        )
        log = OpenedLog(
            store,
            journal,
            sequencer,
            MemoryHeadFile(self.volume, file),
            damage=replayed.damage,
            checkpoint=None,
            taken_over=0,
        )
        return ControlPlane(
            CONFIG_SETTINGS,
            log,
            bus=bus,
            stream_of=streams_of(bus, CONFIG_SETTINGS),
            clock=world.loop.time,
        )


class ReplicaProcess(Process[Ground]):
    """A gateway or a worker, as far as it follows the log."""

    def __init__(self, world: Ground, name: str, role: Literal["gateway", "worker"]) -> None:
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
        return self.follower.resolver.registry if self.follower is not None else Registry.EMPTY

    def spoil_registry(self, registry: Registry) -> None:
        """Put another one into its memory, under the position that it stands at."""
        if self.follower is not None:
            self._spoilt = True
            self.follower._replica.registry = registry

    def bury(self) -> None:
        """Nothing of it answers any more."""
        self.follower = None

    def _changed(self, resolver: Resolver) -> None:
        if not host_here().alive:
            return
        assert resolver.position is not None, "a replica serves a registry without a position"
        if self._spoilt and resolver.position == self._before:
            # What had gone bad in memory is replaced: that is no way back.
            self._before = None
        self._spoilt = False
        try:
            self.world.truth.served(self.name, self._before, resolver.position, resolver.registry)
        except Broken as error:
            self.world.breaks(error)
        self.world.trace.say(self.name, f"serves {resolver.position}")
        self._before = resolver.position
