"""The reader of weights: a process of its own that hashes the files of one folder and ends.

*main.* One line of JSON on stdin says what to read and how much at most. One line on stdout is the
manifest, or why there is none. Standard library only: it is started by its path, in an interpreter
without site-packages and without the writer's environment. It ends when its stdin does, so that it
never outlives who asked.

Promises to open plain files only, and only below a folder that was allowed, by whatever way a path
leads there. Each part of it is opened by itself and without following links, and what it then
stands for is looked at. Nothing of a private folder is opened under any name, nor a special file,
nor what the kernel makes up (`/proc`).
"""

import hashlib
import json
import os
import resource
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["Ask", "Refused", "manifest_of"]

_PART: Final = 1024 * 1024
"""Bytes read between two looks at the clock: a slow disk gives 1 MiB in tens of milliseconds."""
_PRIVATE_MAX: Final = 100_000
"""Entries of sie-config's own folder, walked before each reading: a log, its backups and exports
are a few hundred."""
_SEARCH: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: a pipe that took the place of a file would wait for somebody to write.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# fmt: off
_MADE_UP: Final = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts",
    "devtmpfs", "efivarfs", "fusectl", "mqueue", "nsfs", "proc", "pstore", "securityfs",
    "selinuxfs", "sysfs", "tracefs",
))
# fmt: on
"""Filesystems whose files are the kernel's words: to read one may have it do something."""

Inode: TypeAlias = tuple[int, int]


class Refused(Exception):
    """There is no manifest; the message says why, in words for whoever asked."""


@dataclass(frozen=True)
class Ask:
    """The file to read, and the most that may be read."""

    path: str
    allowed: list[str]
    """Folders below which a file may be read."""
    private: list[str]
    """Files and folders of which nothing is, whatever they are called elsewhere."""
    files_max: int
    entries_max: int
    depth_max: int
    bytes_max: int
    time_s: float


@dataclass(frozen=True)
class _File:
    """A plain file that was found. `place` is free of links."""

    name: str
    place: str
    size: int
    inode: Inode


def manifest_of(ask: Ask) -> tuple[dict[str, str], int]:
    """The SHA-256 of each file below the folder, and their bytes. Raises `Refused`, `OSError`."""
    return _Reader(ask).manifest()


class _Reader:
    """One reading. Sizes are summed up before the first byte is read."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._allowed = [os.path.realpath(folder) for folder in ask.allowed]
        self._private = _inodes_of(ask.private)
        self._made_up = _made_up_devices()
        self._seen = 0

    def manifest(self) -> tuple[dict[str, str], int]:
        folder = os.path.realpath(self._ask.path)
        if not self._may_read(folder):
            raise Refused("it leads out of the folders that sie-config may read")
        files: list[_File] = []
        size = 0
        for file in self._below(folder, "", 0):
            files.append(file)
            size += file.size
            if len(files) > self._ask.files_max:
                raise Refused(f"it has more than {self._ask.files_max} files")
            if size > self._ask.bytes_max:
                raise Refused(f"its files have more than {self._ask.bytes_max} bytes")
        if not files:
            raise Refused("it has no files")
        files.sort(key=lambda file: file.name)
        return {file.name: self._hash_of(file) for file in files}, size

    def _below(self, folder: str, prefix: str, depth: int) -> Iterator[_File]:
        if depth > self._ask.depth_max:
            raise Refused(f"it is more than {self._ask.depth_max} folders deep")
        descriptor = self._opened(folder, _LIST)
        try:
            with os.scandir(descriptor) as entries:
                found = [entry for entry in entries if self._counts(entry.name)]
            for entry in found:
                name = prefix + entry.name
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    yield from self._below(f"{folder}/{entry.name}", f"{name}/", depth + 1)
                else:
                    yield self._file(name, f"{folder}/{entry.name}", status)
        finally:
            os.close(descriptor)

    def _counts(self, name: str) -> bool:
        self._seen += 1
        if self._seen > self._ask.entries_max:
            raise Refused(f"it has more than {self._ask.entries_max} entries")
        return not name.startswith(".")

    def _file(self, name: str, place: str, status: os.stat_result) -> _File:
        if stat.S_ISLNK(status.st_mode):
            # The hub's cache is made of links to files beside it.
            place = os.path.realpath(place)
            if not self._may_read(place):
                raise Refused(f"{name} leads out of the folders that sie-config may read")
            status = os.stat(place, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{name} is no plain file")
        self._look_at(status, name)
        return _File(name, place, status.st_size, (status.st_dev, status.st_ino))

    def _may_read(self, place: str) -> bool:
        return any(place == folder or place.startswith(f"{folder}/") for folder in self._allowed)

    def _opened(self, place: str, flags: int) -> int:
        """A descriptor of a place without links, each part of which was looked at on the way."""
        parent = os.open("/", _SEARCH)
        try:
            *folders, last = place.strip("/").split("/")
            for part in folders:
                below = os.open(part, _SEARCH, dir_fd=parent)
                os.close(parent)
                parent = below
                self._look_at(os.fstat(parent), place)
            # Once more by name: what is special must not even be opened.
            status = os.stat(last, dir_fd=parent, follow_symlinks=False)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise Refused(f"{place} is no plain file")
            self._look_at(status, place)
            descriptor = os.open(last, flags, dir_fd=parent)
        finally:
            os.close(parent)
        try:
            self._look_at(os.fstat(descriptor), place)
        except Refused:
            os.close(descriptor)
            raise
        return descriptor

    def _look_at(self, status: os.stat_result, name: str) -> None:
        if (status.st_dev, status.st_ino) in self._private:
            raise Refused(f"{name} is sie-config's own")
        if status.st_dev in self._made_up:
            raise Refused(f"{name} is no plain file")

    def _hash_of(self, file: _File) -> str:
        found = hashlib.sha256()
        if not file.size:
            # What has no size is either empty or made up as it is read: it is not opened.
            return found.hexdigest()
        descriptor = self._opened(file.place, _READ)
        with os.fdopen(descriptor, "rb", buffering=0) as stream:
            status = os.fstat(descriptor)
            same = (status.st_dev, status.st_ino) == file.inode and stat.S_ISREG(status.st_mode)
            left = file.size
            while same and left and (part := stream.read(min(left, _PART))):
                found.update(part)
                left -= len(part)
            # One byte more tells of a file that grew.
            if not same or left or stream.read(1):
                raise Refused(f"{file.name} changed while it was read")
        return found.hexdigest()


def _inodes_of(places: list[str]) -> set[Inode]:
    """Files and folders, with all that is in these. Nothing but folders is opened."""
    found: set[Inode] = set()
    pending = [os.path.realpath(place) for place in places]
    while pending:
        place = pending.pop()
        try:
            status = os.stat(place)
            if stat.S_ISDIR(status.st_mode) and not os.path.islink(place):
                pending += [f"{place}/{name}" for name in os.listdir(place)]
        except FileNotFoundError:
            continue
        found.add((status.st_dev, status.st_ino))
        if len(found) > _PRIVATE_MAX:
            raise Refused(f"sie-config's own folder has more than {_PRIVATE_MAX} entries")
    return found


def _made_up_devices() -> set[int]:
    found: set[int] = set()
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                about, _, rest = line.partition(" - ")
                if rest.split(" ", 1)[0] in _MADE_UP:
                    major, minor = about.split(" ")[2].split(":")
                    found.add(os.makedev(int(major), int(minor)))
    except OSError:
        # No Linux: there are no such files.
        return set()
    return found


def _answer(ask: Ask) -> dict[str, Any]:
    try:
        manifest, size = manifest_of(ask)
        json.dumps(manifest, ensure_ascii=False).encode()
    except Refused as refused:
        return {"refused": str(refused)}
    except OSError as error:
        return {"refused": f"it cannot be read ({error.strerror})"}
    except UnicodeEncodeError:
        return {"refused": "a name in it is not UTF-8"}
    return {"manifest": manifest, "size": size}


def _bound(time_s: float) -> None:
    """Behind everybody else, without a file to write to, and not for ever."""
    os.nice(10)
    signal.setitimer(signal.ITIMER_REAL, time_s)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_with_stdin() -> None:
    sys.stdin.buffer.read(1)
    os._exit(1)


def main() -> None:
    """Read what stdin asks for."""
    ask = Ask(**json.loads(sys.stdin.buffer.readline()))
    # Whoever asked gives up first, and says so.
    _bound(ask.time_s + 1)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    line = json.dumps(_answer(ask)).encode("ascii", "replace") + b"\n"
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    # Without the ceremony of an end, in which the thread above would be in the way.
    os._exit(0)


if __name__ == "__main__":
    main()
