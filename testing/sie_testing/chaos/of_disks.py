"""Faults of what is kept: files, disks, streams, and whatever is put back behind.

*shell.* Damage is done to the files of programs that are down, as a disk does it. It is done under
a running one where that is the fault.
"""

import asyncio
import contextlib
import errno
import resource
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from sie_runtime.streams.log_stream import LogStream, log_streams, stream_name
from sie_testing.chaos.scene import Fault, Scene
from sie_testing.chaos.table import LONGER_S

__all__ = ["DISK_BYTES", "FAULTS"]

DISK_BYTES: Final = 64 * 1024 * 1024
"""The small disk of sie-config, where a fault fills it."""
_ADMIN_S: Final = 5.0
"""A broker on a disk that others keep busy takes a second to delete a stream."""
_CHUNK: Final = b"\0" * 65_536
_PAGE: Final = 4_096
"""SQLite's, so that one page of the log is damaged and its neighbours are sound."""


async def _stream_wiped(scene: Scene) -> None:
    scene.strikes()
    await scene.cluster.wipe_stream()


async def _broker_wiped(scene: Scene) -> None:
    scene.strikes()
    await scene.cluster.wipe_broker()


async def _queues_deleted(scene: Scene) -> None:
    scene.strikes()
    async with scene.cluster.connected_bus() as bus:
        await bus.request("$JS.API.STREAM.DELETE.WORK_POOL_default", b"", timeout_s=_ADMIN_S)


async def _past_the_head(scene: Scene) -> None:
    """The stream is made anew, empty, and begins beyond what the file has: whose log is it?"""
    backup = len(scene.cluster.backups)
    await scene.cluster.back_up()
    await scene.load.progress(40)
    await scene.kill("config", hold=True)
    async with scene.cluster.connected_bus() as bus:
        for log_id, tip in (await log_streams(bus)).items():
            stream = LogStream(bus, log_id, timeout_s=_ADMIN_S)
            await bus.request(
                f"$JS.API.STREAM.DELETE.{stream_name(log_id)}", b"", timeout_s=_ADMIN_S
            )
            await stream.ensure(first_epoch=tip.last + 1, metadata=tip.metadata)
    scene.held.discard("config")
    await scene.cluster.restore(scene.cluster.backups[backup], with_head=False)


async def _behind(scene: Scene) -> None:
    backup = len(scene.cluster.backups)
    await scene.cluster.back_up()
    await scene.load.progress(60)
    scene.held.add("config")
    scene.strikes()
    await scene.cluster.restore(scene.cluster.backups[backup], with_head=True)
    scene.held.discard("config")


async def _wal_unlinked(scene: Scene) -> None:
    scene.strikes()
    _beside(scene, "-wal").unlink(missing_ok=True)


async def _restarted(scene: Scene) -> None:
    await scene.cluster.programs["config"].kill()
    await scene.cluster.programs["config"].start()


async def _file_damaged(scene: Scene) -> None:
    """A byte of a page in the middle of the file goes over, while the writer is down."""
    scene.kept["backup"] = len(scene.cluster.backups)
    await scene.cluster.back_up()
    await scene.kill("config", hold=True)
    _flip_in_page(scene.cluster.log_file)
    scene.held.discard("config")


async def _file_damaged_under_it(scene: Scene) -> None:
    """The same under a writer that runs: what it wrote back lies in that page."""
    scene.kept["backup"] = len(scene.cluster.backups)
    await scene.cluster.back_up()
    scene.strikes()
    _flip_in_page(scene.cluster.log_file)


async def _stores_damaged(scene: Scene) -> None:
    """One byte in the middle of each message block goes over, while the broker is down."""
    await scene.kill("broker", hold=True)
    flipped = _flip_each(_blocks(scene))
    scene.held.clear()
    if not flipped:
        raise RuntimeError("the broker keeps no message: nothing is tried")


async def _stores_damaged_under_it(scene: Scene) -> None:
    """The same while the broker runs, which reads it anew when it is started again."""
    scene.strikes()
    _flip_each(_blocks(scene))


async def _broker_restarted(scene: Scene) -> None:
    await scene.kill("broker")


def _blocks(scene: Scene) -> list[Path]:
    return sorted((scene.cluster.folder / "broker").rglob("*.blk"))


def _replica_files(scene: Scene) -> list[Path]:
    folders = (scene.cluster.folder / name for name in ("gateway-0", "worker-0"))
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


async def _put_back(scene: Scene) -> None:
    """Do what the manual says of a damaged file: a backup, and the rest from whoever has it."""
    await scene.cluster.restore(scene.cluster.backups[scene.kept["backup"]], with_head=True)


async def _replica_damaged(scene: Scene) -> None:
    await scene.kill("gateway-0", "worker-0", hold=True)
    _flip_each(_replica_files(scene))
    scene.held.clear()


async def _replica_damaged_under_it(scene: Scene) -> None:
    """A byte in each file goes over while its process lives, and nobody tells it."""
    scene.strikes()
    _flip_each(_replica_files(scene))


async def _replicas_restarted(scene: Scene) -> None:
    await scene.kill("gateway-0", "worker-0")


async def _replica_wiped(scene: Scene) -> None:
    scene.strikes()
    for name in ("gateway-0", "worker-0"):
        scene.held.add(name)
        await scene.cluster.wipe_replica(name)
    scene.held.clear()


def _filled(name: str) -> Callable[[Scene], Awaitable[None]]:
    """The disk of a program's folder is full."""

    async def strike(scene: Scene) -> None:
        scene.strikes()
        await asyncio.to_thread(_fill, _ballast(scene, name))

    return strike


def _freed(name: str) -> Callable[[Scene], Awaitable[None]]:
    async def mend(scene: Scene) -> None:
        _ballast(scene, name).unlink(missing_ok=True)

    return mend


async def _broker_freed(scene: Scene) -> None:
    """There is room again, and the broker stores nothing before it is started anew."""
    await _freed("broker")(scene)
    await scene.cluster.programs["broker"].kill()


def _ballast(scene: Scene, name: str) -> Path:
    return scene.cluster.folder / name / "ballast"


def _limited(name: str) -> Callable[[Scene], Awaitable[None]]:
    """No file of a program may grow: each write beyond is an error that is not a full disk."""

    async def strike(scene: Scene) -> None:
        scene.strikes()
        pid = scene.cluster.programs[name].pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        scene.kept["limited"] = (pid, hard)

    return strike


async def _unlimited(scene: Scene) -> None:
    pid, hard = scene.kept["limited"]
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


async def _compacted(scene: Scene) -> None:
    """The low water moves while two replicas are away that need what is below it."""
    await scene.kill("gateway-0", "worker-0", hold=True)
    await scene.load.progress(60)
    await scene.cluster.compact(1)
    scene.held.clear()


def _beside(scene: Scene, suffix: str) -> Path:
    file = scene.cluster.log_file
    return file.with_name(file.name + suffix)


def _flip_each(paths: Iterable[Path]) -> int:
    """The middle byte of each file goes over; how many files had one."""
    filled = [path for path in paths if path.stat().st_size]
    for path in filled:
        _flip(path, path.stat().st_size // 2)
    return len(filled)


def _flip_in_page(path: Path) -> None:
    """The middle byte of the page in the middle of a file goes over."""
    _flip(path, path.stat().st_size // _PAGE // 2 * _PAGE + _PAGE // 2)


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            for _ in range(DISK_BYTES // len(_CHUNK) + 1):
                file.write(_CHUNK)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


FAULTS: Final = (
    Fault(
        name="config stream wiped",
        done="the operator deletes the stream of the log",
        strike=_stream_wiped,
    ),
    Fault(
        name="work queue deleted",
        done="the operator deletes the stream of the default pool, jobs and consumers included; "
        "the requests of jobs that went with it end at the gateway's own limit",
        strike=_queues_deleted,
        serves_s=LONGER_S,
    ),
    Fault(
        name="broker wiped",
        done="SIGKILL to the broker, its whole store is lost, queued work too",
        strike=_broker_wiped,
    ),
    Fault(
        name="stream begins past the head",
        done="sie-config's volume is put back from a backup without its head file, and the stream "
        "of its log is made anew, empty, beginning where the lost entries ended",
        strike=_past_the_head,
        serves_s=LONGER_S,
    ),
    Fault(
        name="sie-config restarted behind",
        done="sie-config's file is put back from a backup that some sixty calls have gone past",
        strike=_behind,
        serves_s=LONGER_S,
    ),
    Fault(
        name="WAL unlinked",
        done="the write-ahead log of a running sie-config is unlinked; after 4 s the operator "
        "restarts it, as its message says",
        strike=_wal_unlinked,
        mend=_restarted,
        serves_s=LONGER_S,
    ),
    Fault(
        name="log file damaged",
        done="SIGKILL to sie-config, one byte in the middle of its file goes over; after 4 s the "
        "operator puts a backup back",
        strike=_file_damaged,
        mend=_put_back,
        serves_s=LONGER_S,
    ),
    Fault(
        name="log file damaged under it",
        done="one byte in the middle of its file goes over while sie-config runs; after 4 s the "
        "operator puts a backup back",
        strike=_file_damaged_under_it,
        mend=_put_back,
        serves_s=LONGER_S,
    ),
    Fault(
        name="broker's store damaged",
        done="SIGKILL to the broker, one byte in the middle of each message block goes over",
        strike=_stores_damaged,
        serves_s=LONGER_S,
    ),
    Fault(
        name="broker's store damaged under it",
        done="one byte in the middle of each message block goes over while the broker runs; "
        "SIGKILL to it after 4 s",
        strike=_stores_damaged_under_it,
        mend=_broker_restarted,
        serves_s=LONGER_S,
    ),
    Fault(
        name="replica files damaged",
        done="SIGKILL to gateway-0 and worker-0, one byte in each of their files goes over",
        strike=_replica_damaged,
    ),
    Fault(
        name="replica files damaged under it",
        done="one byte in each file of gateway-0 and worker-0 goes over while they run; SIGKILL to "
        "both after 4 s",
        strike=_replica_damaged_under_it,
        mend=_replicas_restarted,
    ),
    Fault(
        name="replicas wiped",
        done="SIGKILL to gateway-0 and worker-0, their files are lost",
        strike=_replica_wiped,
    ),
    Fault(
        name="low water moved",
        done="SIGKILL to gateway-0 and worker-0; the log is compacted past what they have",
        strike=_compacted,
    ),
    Fault(
        name="sie-config's files cannot grow",
        done="each write of sie-config beyond a file's end is an error (EFBIG), for 4 s",
        strike=_limited("config"),
        mend=_unlimited,
    ),
    Fault(
        name="a replica's files cannot grow",
        done="each write of gateway-0 beyond a file's end is an error (EFBIG), for 4 s",
        strike=_limited("gateway-0"),
        mend=_unlimited,
    ),
    Fault(
        name="disk full",
        done=f"sie-config's folder is a disk of {DISK_BYTES >> 20} MiB, which is full for 6 s",
        strike=_filled("config"),
        mend=_freed("config"),
        lasts_s=6,
        small_disk="config",
    ),
    Fault(
        name="a replica's disk full",
        done=f"gateway-0's folder is a disk of {DISK_BYTES >> 20} MiB, which is full for 6 s",
        strike=_filled("gateway-0"),
        mend=_freed("gateway-0"),
        lasts_s=6,
        small_disk="gateway-0",
    ),
    Fault(
        name="the broker's disk full",
        done=f"the broker's store is a disk of {DISK_BYTES >> 20} MiB, which is full for 6 s; the "
        "operator frees it and restarts the broker, which does not store before",
        strike=_filled("broker"),
        mend=_broker_freed,
        lasts_s=6,
        small_disk="broker",
        serves_s=LONGER_S,
    ),
)
