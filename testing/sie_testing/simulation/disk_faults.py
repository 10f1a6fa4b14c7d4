"""Faults of a simulated world's disks: of the log, of its backups, and of the key beside it.

*shell.* As `sie_testing.simulation.faults`: each acts on the world at once. A hand is laid on a
file only when nobody has it open.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sie_runtime.signing import SigningKey

if TYPE_CHECKING:
    from sie_config.writer_process import ControlPlane
    from sie_testing.simulation.world import World

__all__ = ["DISK_FAULTS", "mend_key"]


def _take_down(world: "World") -> None:
    """End whoever holds the writer's file, before a hand is laid on it."""
    for process in (world.writer, *world.early):
        process.kill()
    world.early.clear()


def _disk_full(world: "World", rng: random.Random) -> str:
    volume = world.writer.volume
    volume.full = True

    def free() -> None:
        volume.full = False

    world.in_a_while(rng, free)
    return "the writer's"


def _commit_fails(world: "World", rng: random.Random) -> str:
    world.writer.volume.fail_next = rng.choice(("before", "after"))
    return f"{world.writer.volume.fail_next} its effect"


def _backup_taken(world: "World", rng: random.Random) -> str:
    if not world.writer.volume.entries:
        return ""
    world.backups.append(world.writer.volume.copy())
    return f"up to epoch {len(world.backups[-1].entries)}"


def _backup_restored(world: "World", rng: random.Random) -> str:
    if not world.backups or world.writer.volume.holder is None:
        return ""
    backup = rng.choice(world.backups)
    _take_down(world)
    before = len(world.writer.volume.entries)
    world.writer.volume.put_back(backup, head_too=rng.random() < 0.5)
    return f"up to epoch {len(backup.entries)}" if len(backup.entries) < before else ""


def _tail_lost(world: "World", rng: random.Random) -> str:
    """The file loses its last entries: a truncated write-ahead log."""
    volume = world.writer.volume
    if len(volume.entries) < 3:
        return ""
    lost = rng.randint(1, min(5, len(volume.entries) - 2))
    _take_down(world)
    del volume.entries[-lost:]
    last = volume.entries[-1].epoch
    volume.keys = {name: row for name, row in volume.keys.items() if row.epoch <= last}
    return f"{lost} entries"


def _file_damaged(world: "World", rng: random.Random) -> str:
    volume = world.writer.volume
    if len(volume.entries) < 4 or not world.backups:
        return ""
    volume.damaged_from = volume.entries[rng.randrange(2, len(volume.entries))].epoch
    _take_down(world)
    return f"from epoch {volume.damaged_from}"


def _key_rotated(world: "World", rng: random.Random) -> str:
    """An operator changes the key that signs the log, while a replica sleeps."""
    writer = world.writer
    if not world.serves_all_of(writer) or not writer.volume.names_its_key:
        return ""
    sleeper = rng.choice(world.replicas)
    sleeper.pause()
    world.in_a_while(rng, sleeper.resume)
    _take_down(world)
    key = SigningKey.of_seed(rng.randbytes(32))
    entry = writer.volume.change_key(key, world.now_us())
    world.truth.committed([entry])
    return f"to {key.key_id} at epoch {entry.epoch}, while {sleeper.name} sleeps"


def _key_restored(world: "World", rng: random.Random) -> str:
    """The key file is put back as it was before a change of keys, until somebody notices."""
    volume = world.writer.volume
    if not volume.older_keys or volume.key in volume.older_keys:
        return ""
    right = volume.key
    _take_down(world)
    volume.key = rng.choice(volume.older_keys)
    world.wrong_keys[id(volume)] = (volume, right)
    world.in_a_while(rng, lambda: mend_key(world))
    return f"{volume.key.key_id} in place of {right.key_id}"


def mend_key(world: "World") -> None:
    """Every disk has its right key again, and whoever holds it begins anew with that."""
    for volume, right in world.wrong_keys.values():
        volume.key = right
        if world.writer.volume is volume:
            _take_down(world)
    world.wrong_keys.clear()


def _low_water_moved(world: "World", rng: random.Random) -> str:
    """Compaction: first the mark, then the publisher trims the stream."""
    plane = world.writer.plane
    if plane is None or plane.broadcast.published_epoch < 4:
        return ""
    mark = rng.randint(2, plane.broadcast.published_epoch)

    async def compact(plane: "ControlPlane") -> None:
        before = plane.low_water
        await plane.compact(mark)
        if plane.low_water > before:
            world.took_effect("low-water-moved")

    world.ask("operator", compact)
    return f"to {mark}"


DISK_FAULTS: Final[dict[str, Callable[["World", random.Random], str]]] = {
    "backup-restored": _backup_restored,
    "backup-taken": _backup_taken,
    "commit-fails": _commit_fails,
    "disk-full": _disk_full,
    "file-damaged": _file_damaged,
    "key-restored": _key_restored,
    "key-rotated": _key_rotated,
    "low-water-moved": _low_water_moved,
    "tail-lost": _tail_lost,
}
"""Kind of fault -> what it does, as in `FAULTS`."""
