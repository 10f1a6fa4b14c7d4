"""Walks of disks that fill, of memory that changes, and of somebody who signs almost rightly.

*shell.* Disks are mounted, and another process's memory is written: both want root. `sie soak
--runbooks` walks them; the tests of CI do not.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from tests.support.polling import until_told
from tests.support.runbook_breaks import as_config
from tests.support.runbook_walk import Walk, nothing
from tests.support.runbook_world import World

from sie_runtime.streams.log_stream import log_streams
from sie_schemas.fleet import Head
from sie_testing.signing import STRANGER

__all__ = ["DISKS"]

_MB: Final = 1024 * 1024
_LOG_DISK: Final = 64 * _MB


def _mount(target: Path, size: int) -> None:
    target.mkdir(exist_ok=True)
    options = f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", target], check=True)


# -- the log's disk --


async def _small_disk_of_the_log(world: World) -> None:
    """The log comes to lie on a small disk, and somebody else fills that."""
    folder, aside = world.log_file.parent, world.folder / "aside"
    with world.held_down("config"):
        await asyncio.to_thread(shutil.copytree, folder, aside, dirs_exist_ok=True)
        await asyncio.to_thread(_mount, folder, _LOG_DISK)
        world.mounted.append(folder)
        await asyncio.to_thread(shutil.copytree, aside, folder, dirs_exist_ok=True)
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "theirs").write_bytes(bytes(free - _LOG_DISK // 20))


async def _freed(world: World) -> None:
    (world.log_file.parent / "theirs").unlink()


# -- the disk of the models' files --


async def _small_disk_of_models(world: World) -> None:
    folder = Path(world.environment["HF_HUB_CACHE"])
    await asyncio.to_thread(_mount, folder, 1024 * _MB)
    world.mounted.append(folder)


async def _enlarged(world: World) -> None:
    folder = world.environment["HF_HUB_CACHE"]
    larger = f"remount,size={4096 * _MB}"
    await asyncio.to_thread(subprocess.run, ["mount", "-o", larger, folder], check=True)


# -- memory --


async def _memory_changes(world: World) -> None:
    """A letter of a document turns in the memory of every replica."""
    marker = f"as it was written {os.urandom(16).hex()}"
    assert await world.write("marked", description=marker) in {200, 201}
    pids = [world.pid(role) for role in ("gateway", "worker-0")]

    async def is_differing() -> bool:
        for pid in pids:
            await asyncio.to_thread(_turn, pid, marker.encode())
        await world.http.get(f"{world.config}/v1/configs/verify", timeout=60)
        return await world.alerting("SieSelfCheckDiffers")

    await until_told(is_differing, within_s=90)


def _turn(pid: int, marker: bytes) -> None:
    turned = marker.replace(b"written", b"wrotten")
    with Path(f"/proc/{pid}/mem").open("r+b", buffering=0) as memory:
        for begin, end in _writable(pid):
            memory.seek(begin)
            held = memory.read(end - begin)
            at = held.find(marker)
            while at >= 0:
                memory.seek(begin + at)
                memory.write(turned)
                at = held.find(marker, at + 1)


def _writable(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        if rights.startswith("rw") and "[v" not in line:
            begin, _, end = span.partition("-")
            yield int(begin, 16), int(end, 16)


async def _replicas_restarted(world: World) -> None:
    for role in ("gateway", "worker-0"):
        world.kill(role)


# -- forgeries --


async def _somebody_else_signs(world: World) -> None:
    """With the writer's own password at the broker, and not with its key."""

    async def is_seen() -> bool:
        async with as_config(world) as bus:
            for log_id in await log_streams(bus):
                head = Head(log_id=log_id, epoch=10**6, hash="0" * 64, digest="0" * 64, term=10**6)
                signature = STRANGER.sign(log_id, head.epoch, head.hash, head.digest)
                signed = msgspec.structs.replace(head, signature=signature)
                await bus.publish(f"sie.config.head.{log_id}", msgspec.json.encode(signed))
        return await world.alerting("SieForged")

    await until_told(is_seen)


DISKS: Final[Mapping[str, Walk]] = {
    "SieLogDiskFills": Walk(
        _small_disk_of_the_log,
        {"Free or enlarge": _freed, "All history is kept": nothing},
        world="small",
    ),
    "SieModelCacheFills": Walk(
        _small_disk_of_models,
        {"larger `cache.size`": _enlarged},
        ("Set `SIE_SERVER_HUB_BYTES_MAX`",),
        world="small",
    ),
    "SieSelfCheckDiffers": Walk(
        _memory_changes,
        {"A replica: restart it": _replicas_restarted},
        ("The writer is in recovery", "Suspect the memory"),
        shows=("folds to",),
        ends=False,
        world="small",
    ),
    "SieForged": Walk(
        _somebody_else_signs,
        {"Nothing forged was applied": nothing},
        ("Change the broker's passwords",),
        ends=False,
        world="small",
    ),
}
