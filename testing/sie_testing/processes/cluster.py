"""A real cluster for the adversary: every program, and a link between any two that speak.

*shell.* Owns a folder, the programs and the links. Everybody reaches the broker and sie-config by a
link of his own. The operator, who wipes, backs up and restores as the manual says, goes straight to
them. Time constants are fractions of the usual ones, so that a run is short.
"""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import msgspec

from sie_config.keys.key_file import key_path
from sie_config.log.head_file import HeadFile
from sie_config.offline.backup import back_up, read_manifest
from sie_config.offline.findings import Report
from sie_config.offline.others import verify_stream
from sie_config.offline.restore import Discard, restore
from sie_config.offline.verification import verify_log
from sie_core.chain import Position
from sie_gateway.settings import GatewaySettings
from sie_runtime.access.access import Grant, Tokens, hash_of
from sie_runtime.broker.bus import Bus, BusSettings, BusUnavailable, connected_bus
from sie_runtime.follower.replica_files import ReplicaFiles
from sie_runtime.streams.log_stream import log_streams, stream_name
from sie_schemas.entry import Entry
from sie_schemas.errors import SIEError
from sie_testing.processes.actions import link_names, process_names
from sie_testing.processes.command_lines import CommandLines
from sie_testing.processes.moved_clock import through_moved_clock, write_ahead
from sie_testing.processes.programs import Program, free_ports
from sie_testing.processes.proxy import Link
from sie_testing.processes.short_times import GATEWAY

__all__ = ["PROGRAMS", "Cluster", "Loss"]

PROGRAMS: Final = ("nats-server", "sie-config", "sie-gateway", "sie-worker")
"""The programs that have to be installed, beside this interpreter or on PATH."""

_ADMIN_S: Final = 5.0
"""A broker on a disk that others keep busy takes a second to delete a stream."""
_OF_OTHERS: Final = ("broker", "execution")
"""Programs without a clock that can be moved: one is no Python, and one asks for no time."""
_LOG_FILES: Final = ("log.sqlite", "log.sqlite-wal", "log.sqlite-shm", "log.sqlite.checkpoint")
_HEAD_FILE: Final = "log.sqlite.head"
_BROKER: Final = """\
server_name: sie-adversary
host: "127.0.0.1"
port: {port}
ping_interval: "5s"
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_file_store: 64GB
}}
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """A log's disk was replaced by an older one at this moment.

    `epoch` is the newest that anybody else had seen: the head file, the stream as far as it was
    reached, a replica's files. What was acknowledged beyond it nobody can miss.
    """

    at: float
    log_id: str
    epoch: int


class Cluster:
    """See the module. Owner: one run."""

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int,
        say: Callable[[str, str], None],
        shipped: bool = False,
        tokens: tuple[str, ...] = (),
        moves_clocks: bool = False,
    ) -> None:
        """`shipped` keeps the time constants that the programs come with.

        With `tokens` gateways let in only who has one of them; the first is the load's. With
        `moves_clocks` the wall clock of each of our programs can be moved.
        """
        self.folder = folder
        self.backups: list[Path] = []
        self.losses: list[Loss] = []
        self.said_lost: list[str] = []
        """The losses that an operator was told of, or accepted."""
        self.gave_up = False
        """True if a log was restored without any word of what it lacks: two histories may be."""
        self.request_timeout_s = (
            GatewaySettings.request_timeout_s if shipped else float(GATEWAY["request-timeout-s"])
        )
        """After which a gateway gives a request up."""
        self._shipped = shipped
        self._lines: CommandLines
        self.headers = {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}
        """The headers that the load, the judge and the operator send."""
        self._tokens = tokens
        self._moves_clocks = moves_clocks
        self._say = say
        self._replicas = replicas
        self._ports: dict[str, int] = {}
        self.links: dict[str, Link] = {}
        self.programs: dict[str, Program] = {}

    # -- its life --

    async def open(self) -> None:
        """Open the links and make the programs; starts none."""
        names = process_names(self._replicas)
        serving = [name for name in names if not name.startswith("execution")]
        self._ports = dict(zip(serving, free_ports(len(serving)), strict=True))
        for name in link_names(self._replicas):
            self.links[name] = Link(name, self._ports[name.partition(">")[2]])
            await self.links[name].open()
        (self.folder / "nats.conf").write_text(
            _BROKER.format(
                port=self._ports["broker"], store=json.dumps(str(self.folder / "broker"))
            )
        )
        if self._tokens:
            self.let_in(*self._tokens)
        self._lines = CommandLines(
            folder=self.folder,
            ports=self._ports,
            links={name: link.url for name, link in self.links.items()},
            shipped=self._shipped,
            auth_file=self._auth_file if self._tokens else None,
        )
        for name in names:
            log = self.folder / f"{name}.log"
            argv = self._argv(name)
            self.programs[name] = Program(name, argv, log, environment=_without_settings())

    def let_in(self, *tokens: str) -> None:
        """Have the gateways let in who has one of these tokens, and nobody else."""
        grants = tuple(
            Grant(name=f"token-{number}", sha256=hash_of(token.encode()), roles=("infer", "read"))
            for number, token in enumerate(tokens)
        )
        file = self._auth_file
        made = file.with_name("tokens.new")
        made.write_bytes(msgspec.json.encode(Tokens(tokens=grants)))
        made.chmod(0o600)
        made.replace(file)

    async def close(self) -> None:
        """End every program and every link."""
        for program in self.programs.values():
            await program.kill()
        for link in self.links.values():
            await link.close()

    async def start(self) -> None:
        """Start every program that does not run."""
        for program in self.programs.values():
            await program.start()

    def heal(self) -> None:
        """Mend every link, let every program go on, by the clock of this machine."""
        for link in self.links.values():
            link.mend()
        for program in self.programs.values():
            program.resume()
        if self._moves_clocks:
            for name in self.programs:
                self.move_clock(name, 0.0)

    def move_clock(self, name: str, ahead_s: float) -> None:
        """Have a program's wall clock be so many seconds ahead of this machine's from now on."""
        if not name.startswith(_OF_OTHERS):
            write_ahead(self.folder / f"{name}.clock", ahead_s)

    def url(self, name: str) -> str:
        """The HTTP address of a program, past every link."""
        return f"http://127.0.0.1:{self._ports[name]}"

    @property
    def clients_config_url(self) -> str:
        """The address at which clients reach sie-config: that of a link."""
        return f"http://{self.links['client>config'].url}"

    def second_writer(self, data: Path | None = None, port: int = 0) -> Program:
        """Another sie-config for the same folder, or for `data`; not started."""
        argv = self._argv("config")
        argv[argv.index("--port") + 1] = str(port)
        if data is not None:
            argv[argv.index("--data-dir") + 1] = str(data)
        return Program("second", argv, self.folder / "second.log", environment=_without_settings())

    @property
    def gateways(self) -> list[Program]:
        """Those that answer requests."""
        return [each for name, each in self.programs.items() if name.startswith("gateway")]

    @property
    def replicas(self) -> list[str]:
        """Everybody who follows the log."""
        return [name for name in self.programs if name.startswith(("gateway", "worker"))]

    # -- the operator --

    async def wipe_stream(self) -> str:
        """Delete every config stream; gives what was on them."""
        try:
            async with self.connected_bus() as bus:
                streams = await log_streams(bus)
                for log_id in streams:
                    subject = f"$JS.API.STREAM.DELETE.{stream_name(log_id)}"
                    await bus.request(subject, b"", timeout_s=_ADMIN_S)
        except BusUnavailable as error:
            return error.message
        return ", ".join(f"{log_id[:8]} up to {tip.last}" for log_id, tip in streams.items())

    async def wipe_broker(self) -> None:
        """Kill the broker, lose its disk, start it."""
        broker = self.programs["broker"]
        await broker.kill()
        shutil.rmtree(self.folder / "broker", ignore_errors=True)
        await broker.start()

    async def wipe_replica(self, name: str) -> None:
        """Kill a replica, lose its disk, start it."""
        program = self.programs[name]
        await program.kill()
        shutil.rmtree(self.folder / name, ignore_errors=True)
        await program.start()

    async def back_up(self) -> str:
        """Back the log up beside the writer; gives where it was."""
        target = self.folder / f"backup-{len(self.backups)}.sqlite"
        _, report = await asyncio.to_thread(back_up, self.log_file, target)
        self.backups.append(target)
        return f"{target.name} at {report.position}"

    async def compact(self, keep: int) -> str:
        """Move the low water, where sie-config answers; gives what it says."""
        url = f"{self.url('config')}/v1/configs/compact"
        try:
            async with httpx.AsyncClient(timeout=_ADMIN_S) as http:
                return (await http.post(url, json={"keep": keep})).text
        except httpx.TransportError as error:
            return f"nobody answers: {error!r}"

    async def restore(self, backup: Path, *, with_head: bool) -> str:
        """Put a backup in the place of the log, as the manual says; without its head file too."""
        config = self.programs["config"]
        await config.kill()
        self.losses += await self._losses()
        self._lose_log()
        if not with_head:
            (self._data / _HEAD_FILE).unlink(missing_ok=True)
            self.gave_up = True
        position = await self._put_back(backup)
        await config.start()
        return f"{backup.name}, up to {position}"

    async def copy_of_writer(self) -> Program:
        """Another sie-config on a restored backup, with the writer's own key; not started."""
        await self.back_up()
        data = self.folder / "copy"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(mode=0o700)
        shutil.copy(key_path(self.log_file), data)
        await asyncio.to_thread(restore, self.backups[-1], data, bus=None, discard=None)
        [self._ports["copy"]] = free_ports(1)
        return self.second_writer(data, self._ports["copy"])

    async def give_up_the_rest(self, *, asks: bool = False) -> None:
        """Begin a superseding log at what the file has, as the manual says.

        With `asks` the broker is asked what the other history is, which the new log then names.
        """
        config = self.programs["config"]
        await config.kill()
        last = self.folder / f"last-{config.deaths}.sqlite"
        _, report = await asyncio.to_thread(back_up, self.log_file, last)
        assert report.position is not None, "a backup has a position"
        self._lose_log()
        discard = Discard(report.position.epoch, "operator", "nobody has the rest")
        report = await self._restored(last, bus=self._broker if asks else None, discard=discard)
        told = f"gives up what follows epoch {discard.after}: the log is now {report.position}"
        self._say("operator", told)
        self.said_lost.append(told)
        await config.start()

    async def verify(self) -> list[str]:
        """The faults of the file and of the stream."""
        report = (await asyncio.to_thread(verify_log, self.log_file)).report
        assert report.position is not None, "a log has a position"
        await verify_stream(self._broker, self.log_file, report.position, report)
        return [f"{each.what}: {each.message}" for each in report.findings if each.state == "bad"]

    async def _put_back(self, backup: Path) -> Position | None:
        """Whole if that can be; else as far as it goes; where histories part, as a new log."""
        for bus, incomplete in ((self._broker, False), (None, True)):
            try:
                return (await self._restored(backup, bus=bus, incomplete=incomplete)).position
            except SIEError as error:
                self._say("operator", f"is refused a restore: {error.message}")
                self.said_lost.append(error.message)
        head = HeadFile(self.log_file).read()
        last = read_manifest(backup).epoch
        after = min(head.epoch - 1, last) if head is not None else last
        discard = Discard(after, "operator", "two histories: the backup's goes on")
        return (await self._restored(backup, discard=discard)).position

    async def _losses(self) -> list[Loss]:
        """The losses about to come with the writer's disk, for each log that anybody knows."""
        seen: dict[str, int] = {}
        head = HeadFile(self.log_file).read()
        if head is not None:
            seen[head.log_id] = head.epoch
        for name in self.replicas:
            last = await asyncio.to_thread(_last_of, self.folder / name)
            if last is not None:
                seen[last.log_id] = max(seen.get(last.log_id, 0), last.epoch)
        with contextlib.suppress(SIEError):
            async with self.connected_bus() as bus:
                for log_id, tip in (await log_streams(bus)).items():
                    seen[log_id] = max(seen.get(log_id, 0), tip.last)
        return [Loss(time.monotonic(), log_id, epoch) for log_id, epoch in seen.items()]

    def _lose_log(self) -> None:
        for name in _LOG_FILES:
            (self._data / name).unlink(missing_ok=True)

    async def _restored(
        self,
        backup: Path,
        *,
        bus: BusSettings | None = None,
        discard: Discard | None = None,
        incomplete: bool = False,
    ) -> Report:
        return await asyncio.to_thread(
            restore, backup, self._data, bus=bus, discard=discard, incomplete=incomplete
        )

    def connected_bus(self) -> AbstractAsyncContextManager[Bus]:
        """The operator's own connection to the broker. Raises `BusUnavailable`."""
        return connected_bus(self._broker, role="config", process_id="operator", within_s=_ADMIN_S)

    @property
    def weights(self) -> Path:
        """The folder below which sie-config may read folders of weights."""
        return self._lines.weights

    @property
    def log_file(self) -> Path:
        """The writer's file."""
        return self._data / _LOG_FILES[0]

    @property
    def _auth_file(self) -> Path:
        return self.folder / "tokens.json"

    @property
    def _data(self) -> Path:
        return self._lines.data

    @property
    def _broker(self) -> BusSettings:
        return BusSettings(nats_url=f"nats://127.0.0.1:{self._ports['broker']}")

    # -- command lines --

    def _argv(self, name: str) -> list[str]:
        argv = self._lines.of(name)
        if not self._moves_clocks or name.startswith(_OF_OTHERS):
            return argv
        return through_moved_clock(self.folder / f"{name}.clock", argv)


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SIE_")}


def _last_of(folder: Path) -> Entry | None:
    """The last entry of a replica's files; what its process has not yet written is not there."""
    snapshot, entries = ReplicaFiles(folder, tail_entries_min=1).load()
    return entries[-1] if entries else snapshot.entry if snapshot is not None else None
