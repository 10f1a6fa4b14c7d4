"""The record of a running cluster: `cluster.json` and `cluster.lock` in its data folder.

*shell.* Owns these two files. Promises that one supervisor at a time holds a folder (the lock
leaves with the process, whatever ends it), that a reader never sees half a record, and that a
process is taken for ours only if its start time is the recorded one, since process ids are used
again. It starts and stops nothing.
"""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from sie_cli.private_files import open_to_append, write_private
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED

__all__ = [
    "ClusterState",
    "ProcessRecord",
    "clear",
    "held",
    "load",
    "record_process",
    "save",
    "start_time",
]

_STATE: Final = "cluster.json"
_LOCK: Final = "cluster.lock"
_STAT_STATE: Final = 0
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
        """Whether that very process still runs."""
        return start_time(self.pid) == self.started


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
    """When a process was started, in the system's own form; None when it is not running."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self").exists() else _start_time_by_ps(pid)
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


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the folder. Raises `FixRequest` when another supervisor does."""
    with os.fdopen(open_to_append(data / _LOCK), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            state = load(data)
            owner = f" (supervisor pid {state.supervisor.pid})" if state is not None else ""
            raise FixRequest(
                f"a cluster already runs in {data}{owner}: look with `sie status --data {data}`, "
                f"stop it with `./sie down --data {data}`, or give another folder with --data",
                code="ENTITY_CONFLICT",
            ) from error
        yield


def load(data: Path) -> ClusterState | None:
    """The last record; None where there is none. Raises `FixRequest` for one it cannot read."""
    path = data / _STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClusterState)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except MALFORMED as error:
        raise FixRequest(f"{path} is not a cluster's record ({error}): remove it") from error


def save(data: Path, state: ClusterState) -> None:
    """Replace the record. A crash here leaves the old one."""
    write_private(data / _STATE, msgspec.json.format(msgspec.json.encode(state)) + b"\n")


def clear(data: Path) -> None:
    """Remove the record: nothing of this cluster runs any more."""
    (data / _STATE).unlink(missing_ok=True)
