"""A log that was written over a recording disk, and the judgement of what a power cut leaves of it.

*shell.* For tests of power loss. The code that writes is the log file's own; only the disk is ours.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.adversary.disk.crash_images import Disk, Loss, Operation
from tests.adversary.disk.recording_disk import RecordingDisk
from tests.support.config_writer import grown_log

from sie_config.log.log_file import LogFile
from sie_config.log.log_rows import KeyRow
from sie_config.log.replay import Replayed, replay
from sie_schemas.entry import Entry

__all__ = [
    "ENTRIES",
    "LOG_NAME",
    "WrittenDisk",
    "key_of",
    "put_down",
    "read_back",
    "scratch_folder",
    "write_log",
]

LOG_NAME = "log.sqlite"
ENTRIES = grown_log(60)
"""One log for all: what differs is how it is grouped, and where the power goes."""
Image = dict[str, bytes]
"""The files that are found after a power cut, by name."""


@dataclass(frozen=True, slots=True)
class WrittenDisk:
    """Every operation of a life of the file, and what was acknowledged when."""

    operations: tuple[Operation, ...]
    acknowledged: tuple[tuple[int, int], ...]
    """(operations done, epoch): from then on the epoch was promised."""

    def promised(self, cut: int) -> int:
        """The newest epoch that was acknowledged before operation number `cut`."""
        return max((epoch for done, epoch in self.acknowledged if done <= cut), default=0)

    def begun(self, cut: int) -> int:
        """The newest epoch whose write had begun before `cut`."""
        later = [epoch for done, epoch in self.acknowledged if done > cut]
        return min(later, default=self.promised(cut))

    def image(self, cut: int, loss: Loss, random: Random, *, lies_after: int = -1) -> Image:
        """The image that is found when the power goes before operation number `cut`.

        With `lies_after`, the disk keeps nothing that is synced from that operation on.
        """
        disk = Disk()
        for number, operation in enumerate(self.operations[:cut]):
            disk.honours_sync = number < lies_after or lies_after < 0
            disk.do(operation)
        return disk.image(loss, random)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for hundreds of files, in memory where the system has such a place.

    Nothing here depends on what a sync does: the disk under test is a model.
    """
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="sie-", dir=place) as folder:
        yield Path(folder)


def key_of(entry: Entry) -> KeyRow:
    """The idempotency row that is written with an entry."""
    return KeyRow("ci", f"key-{entry.epoch}", "print", entry.epoch, True, True, entry.epoch)


def write_log(
    folder: Path,
    groups: Sequence[int],
    *,
    restarts: Sequence[int] = (),
    pages_until_checkpoint: int = 12,
) -> WrittenDisk:
    """Append groups of these sizes; the file is closed and opened again before some of them."""
    disk = RecordingDisk(pages_until_checkpoint=pages_until_checkpoint)
    acknowledged: list[tuple[int, int]] = []
    path = folder / LOG_NAME
    file = LogFile.open(path, connect=disk.connect)
    end = 0
    for number, size in enumerate(groups):
        if number in restarts:
            file.close()
            file = LogFile.open(path, connect=disk.connect)
        group = ENTRIES[end : end + size]
        end += len(group)
        file.append(group, [key_of(entry) for entry in group])
        acknowledged.append((len(disk.operations), end))
        if number % 3 == 2:
            file.move_low_water(number)
    operations = tuple(disk.operations)
    file.close()
    disk.close()
    return WrittenDisk(operations, tuple(acknowledged))


def put_down(folder: Path, image: Image) -> Path:
    """Write an image where a log file is expected."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    return folder / LOG_NAME


def read_back(path: Path) -> tuple[LogFile, Replayed, list[Entry]]:
    """Open and verify a file with the standard library's SQLite, as a writer does at its start."""
    file = LogFile.open(path)
    entries: list[Entry] = []
    replayed = replay(_noted(file, entries))
    return file, replayed, entries


def _noted(file: LogFile, entries: list[Entry]) -> Iterator[Entry]:
    for entry in file.verified():
        entries.append(entry)
        yield entry
