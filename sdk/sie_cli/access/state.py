"""The record of a running cluster: `cluster.json` and `cluster.lock` in its data folder.

*shell.* Owns these two files; starts and stops nothing. Promises:

- One supervisor at a time holds a folder: the lock leaves with the process, whatever ends it.
- A reader never sees half a record.
- A process is taken for ours only if its start time is the recorded one: process ids are used
  again.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from sie_cli.access.private_files import open_to_append, write_private
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED

__all__ = [
    "MARK",
    "ClusterState",
    "ProcessRecord",
    "clear",
    "held",
    "holder",
    "load",
    "marked",
    "record_process",
    "save",
    "start_time",
]

_STATE: Final = "cluster.json"
_LOCK: Final = "cluster.lock"
MARK: Final = "SIE_UP_FOLDER"
"""In the environment of every process of a cluster: its data folder."""
_ROOT: Final = 0
"""The user who may own everybody's files."""
_STAT_STATE: Final = 0
"""Of the fields behind the name in /proc/PID/stat."""
_STAT_START_TIME: Final = 19
"""Fields of /proc/<pid>/stat, counted after the command's closing parenthesis."""


class ProcessRecord(Struct, frozen=True, kw_only=True):
    """One process. `started` with `pid` is its identity; `port` is 0 where it has none."""

    role: str
    pid: int
    started: str
    log: str
    port: int = 0
    restarts: int = 0

    @property
    def alive(self) -> bool:
        """True if that very process still runs."""
        return start_time(self.pid) == self.started

    @property
    def age_s(self) -> float | None:
        """The seconds that it runs; None where the system does not tell its start in ticks."""
        if not self.started.isdigit():
            return None
        ticks = os.sysconf("SC_CLK_TCK")
        # Linux counts a start from the boot, the time of a machine asleep included.
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(self.started) / ticks)


class ClusterState(Struct, frozen=True, kw_only=True):
    """A cluster as its supervisor last wrote it. `processes` are in the order of their start."""

    v: int = 1
    supervisor: ProcessRecord
    ready: bool
    gateway_url: str
    config_url: str
    nats_url: str
    processes: tuple[ProcessRecord, ...] = ()


def start_time(pid: int) -> str | None:
    """The start time of a process, in the system's own form; None when it is not running."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self").exists() else _start_time_by_ps(pid)
    # From the last parenthesis on: a program may have blanks and parentheses in its name.
    fields = stat.rpartition(b")")[2].split()
    return None if fields[_STAT_STATE] in b"ZX" else fields[_STAT_START_TIME].decode()


def _start_time_by_ps(pid: int) -> str | None:
    found = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def record_process(
    role: str, pid: int, log: Path, *, port: int = 0, restarts: int = 0
) -> ProcessRecord:
    """The record of a process that runs now; one that is gone already gets no start time."""
    started = start_time(pid) or ""
    return ProcessRecord(
        role=role, pid=pid, started=started, log=str(log), port=port, restarts=restarts
    )


def marked(data: Path) -> list[ProcessRecord]:
    """Every process that bears the mark of this folder, also one that was started and not yet
    recorded when its supervisor died. Empty where the system has no /proc."""
    mark = f"{MARK}={data.resolve()}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            program = (folder / "comm").read_text().strip()
        except OSError:
            # It has ended meanwhile, or is somebody else's.
            continue
        if mark in variables:
            found.append(record_process(program, int(folder.name), data))
    return found


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the folder. Raises `FixRequest` when another supervisor does."""
    with _opened_lock(data) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = holder(data)
            owner = f" (supervisor pid {other.pid})" if other is not None else ""
            raise FixRequest(
                f"a cluster already runs in {data}{owner}: look with `sie status --data {data}`, "
                f"stop it with `./sie down --data {data}`, or give another folder with --data",
                code="ENTITY_CONFLICT",
            ) from error
        lock.truncate(0)
        lock.write(msgspec.json.encode(record_process("supervisor", os.getpid(), data)))
        lock.flush()
        try:
            yield
        finally:
            # What says who holds it leaves with the lock, or whoever looks would end us.
            lock.truncate(0)


def holder(data: Path) -> ProcessRecord | None:
    """The holder of the folder now, from its first moment on: before there is a record, too."""
    try:
        with (data / _LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found = msgspec.json.decode(lock.read(), type=ProcessRecord)
                return found if found.alive else None
    except (OSError, *MALFORMED):
        return None
    return None


def _opened_lock(data: Path) -> IO[bytes]:
    try:
        # To add and not to write anew, which would empty what the holder wrote before we hold it.
        return os.fdopen(open_to_append(data / _LOCK), "ab")
    except OSError as error:
        raise FixRequest(
            f"{data / _LOCK} cannot be opened ({error.strerror}): give another folder with --data"
        ) from error


def load(data: Path) -> ClusterState | None:
    """The last record; None where there is none. Raises `FixRequest` for one it cannot read.

    A stranger's record is not read: it would choose whom a token is sent to, and what is killed.
    """
    path = data / _STATE
    try:
        owner = path.stat().st_uid
        if owner not in {os.geteuid(), _ROOT}:
            raise FixRequest(
                f"{path} belongs to another user (uid {owner}): run this as that user, or give a "
                "folder of your own with --data"
            )
        return msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except MALFORMED as error:
        raise FixRequest(f"{path} is not a cluster's record ({error}): remove it") from error
    except OSError as error:
        raise FixRequest(
            f"{path} cannot be read ({error.strerror}): give another --data"
        ) from error


def save(data: Path, state: ClusterState) -> None:
    """Replace the record. A crash here leaves the old one."""
    write_private(data / _STATE, msgspec.json.format(msgspec.json.encode(state)) + b"\n")


def clear(data: Path) -> None:
    """Remove the record: nothing of this cluster runs any more."""
    (data / _STATE).unlink(missing_ok=True)
