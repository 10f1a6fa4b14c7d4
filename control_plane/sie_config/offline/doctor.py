"""The doctor: one page on a log and all that stands around it, each line with its cure.

*shell.* Looks at the file, its lock, its write-ahead log, the head file and the disk. Where they
answer, also at sie-config, the stream and the replicas. Promises to change nothing, and to say what
it could not look at instead of leaving it out.
"""

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any, Final

import httpx

from sie_config.log.checkpoint import CheckpointFile
from sie_config.offline.access import asked_json
from sie_config.offline.compaction import writers_log_id
from sie_config.offline.findings import Report
from sie_config.offline.others import verify_stream
from sie_config.offline.verification import verify_log
from sie_runtime.broker.bus import BusSettings, BusUnavailable

__all__ = ["examine"]

_TIMEOUT_S: Final = 5.0
"""A doctor asks the sick: whoever says nothing for so long is not well."""
_WAL_BYTES_MUCH: Final = 256 * 1024 * 1024
"""SQLite folds it back at 4 MiB of its own accord; so much means that some reader never ends."""
_FREE_BYTES_LOW: Final = 1024 * 1024 * 1024
"""Room for one snapshot and one backup of a log of 100,000 entries."""
_FREE_BYTES_NONE: Final = 64 * 1024 * 1024
"""The next write may fail: SQLite needs room for its journal first."""
_RECOVERY: Final = "the reason says what is missing: start with the broker and the replicas up"


def examine(log: Path, *, url: str, bus: BusSettings | None) -> Report:
    """Look at everything. Raises `NotReadable` when there is no log at all."""
    report = verify_log(log).report
    holder = _check_lock(log, report)
    _check_wal(log, holder, report)
    _check_checkpoint(log, report)
    _check_disk(log, report)
    _check_writer(url, holder, report)
    if bus is None:
        report.warn("stream", "not looked at", "give --nats-url")
    elif report.position is not None:
        try:
            asyncio.run(verify_stream(bus, log, report.position, report))
        except BusUnavailable as error:
            report.warn("stream", error.message, "mend what the line says; writes go on without it")
    return report


def _check_lock(log: Path, report: Report) -> int | None:
    """The process that holds the lock. Asked of the system: taking it could stop a start."""
    path = log.with_name(log.name + ".lock")
    if not path.exists():
        report.ok("lock", "free: no writer has run here")
        return None
    try:
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        report.warn("lock", "this system does not tell who holds it")
        return None
    ending = f":{path.stat().st_ino}"
    # Whoever waits for a lock has `->` in the place of its kind, and is passed over.
    for _, kind, _, _, process, file, *_ in map(str.split, locks.splitlines()):
        if kind == "FLOCK" and file.endswith(ending):
            report.ok("lock", f"held by process {process}")
            return int(process)
    report.ok("lock", "free: no writer runs")
    return None


def _check_wal(log: Path, holder: int | None, report: Report) -> None:
    path = log.with_name(log.name + "-wal")
    # Linux tells the name that a descriptor was opened by, with this behind it.
    gone = [name for name in _open_files(holder) if name.endswith(f"{log.name}-wal (deleted)")]
    if gone:
        report.bad(
            "wal",
            f"process {holder} writes to a removed file: what it commits is lost when it ends",
            cure="find out who removed it; take a backup now, while that process runs",
        )
        return
    size = path.stat().st_size if path.exists() else 0
    if size > _WAL_BYTES_MUCH:
        report.warn("wal", f"{size} bytes", "a reader keeps it from being written back; stop it")
    else:
        report.ok("wal", f"{size} bytes, the writer's own")


def _open_files(process: int | None) -> list[str]:
    """The names behind a process's descriptors, where the system tells (Linux)."""
    folder = Path(f"/proc/{process}/fd")
    names = []
    with contextlib.suppress(OSError):
        for link in folder.iterdir() if process is not None else []:
            with contextlib.suppress(OSError):
                names.append(str(link.readlink()))
    return names


def _check_checkpoint(log: Path, report: Report) -> None:
    file = CheckpointFile(log)
    found = file.read()
    if not file.path.exists():
        report.ok("checkpoint", "none: a start folds the whole log")
    elif found is None:
        report.warn("checkpoint", "it cannot be read; a start folds the whole log", "remove it")
    else:
        report.ok("checkpoint", f"at epoch {found.entry.epoch}; verified when it is used")


def _check_disk(log: Path, report: Report) -> None:
    free, size = shutil.disk_usage(log.parent).free, log.stat().st_size
    told = f"{free // 2**20} MiB free, the log has {size // 2**20} MiB"
    if free < _FREE_BYTES_NONE:
        report.bad("disk", told, cure="free space: writes are refused when there is none")
    elif free < max(_FREE_BYTES_LOW, 2 * size):
        report.warn("disk", told, "free space, or move the log")
    else:
        report.ok("disk", told)


def _check_writer(url: str, holder: int | None, report: Report) -> None:
    if not url:
        report.warn("writer", "not looked at", "give --url")
        return
    ready, replicas = _get(f"{url}/readyz"), _get(f"{url}/v1/configs/replicas")
    if ready is None or replicas is None:
        cure = f"give --url: process {holder} holds the log" if holder else "start it to write"
        report.warn("writer", f"no sie-config answers at {url}", cure)
        return
    theirs = writers_log_id(url)
    if report.position is not None and theirs != report.position.log_id:
        told = f"{url} writes another log ({(theirs or 'none')[:8]})"
        report.warn("writer", told, "give --url: the address of this log's own sie-config")
        return
    writer = ready.get("writer", {})
    if writer.get("state") == "serving":
        report.ok("writer", f"serving at {ready.get('head')}")
    else:
        report.bad("writer", f"{writer.get('state')}: {writer.get('reason')}", cure=_RECOVERY)
    rows = [row for row in replicas.get("replicas", []) if row.get("live")]
    behind = [f"{row['role']} {row['id']}" for row in rows if not row.get("converged")]
    if behind:
        report.warn(
            "replicas",
            f"{len(behind)} of {len(rows)} are not at the head: {', '.join(behind[:3])}",
            "their reason is in GET /v1/configs/replicas",
        )
    else:
        report.ok("replicas", f"{len(rows)} live, all at the head")


def _get(url: str) -> dict[str, Any] | None:
    try:
        found = asked_json(url, within_s=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
