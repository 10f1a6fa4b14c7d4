"""Gauges of the log and its replicas that are read when somebody scrapes, and not before.

*shell* over the disk and the reports. Promises one series for each role and none for each replica:
a replica tells of itself in its own metrics.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from prometheus_client import Gauge

from sie_config.replicas.reports import Reports
from sie_core.chain import Position
from sie_runtime.process.disk_room import free_bytes, total_bytes

__all__ = ["show_log"]

_ROLES: Final = ("gateway", "worker")
_FREE: Final = Gauge(
    "sie_config_disk_free_bytes", "Room that is left on the disk of the log's folder."
)
_DISK: Final = Gauge("sie_config_disk_bytes", "Size of that disk.")
_LOG: Final = Gauge("sie_config_log_bytes", "Bytes of the log's file and of what SQLite adds.")
_LIVE: Final = Gauge(
    "sie_config_replicas_live", "Replicas that were heard of lately, by role.", ["role"]
)
_LAG: Final = Gauge(
    "sie_config_replica_lag_epochs",
    "How far the live replica of a role that is farthest behind is behind the log.",
    ["role"],
)


def show_log(
    path: Path, reports: Reports, head: Callable[[], Position], clock: Callable[[], float]
) -> None:
    """Show a log and its replicas from now on. `clock` is the one by which reports are dated."""
    _FREE.set_function(partial(free_bytes, path.parent))
    _DISK.set_function(partial(total_bytes, path.parent))
    _LOG.set_function(partial(_log_bytes, path))
    for role in _ROLES:
        _LIVE.labels(role).set_function(partial(_live, reports, role, clock))
        _LAG.labels(role).set_function(partial(_lag, reports, role, head, clock))


def _log_bytes(path: Path) -> float:
    files = (path, path.with_name(f"{path.name}-wal"))
    return float(sum(each.stat().st_size for each in files if each.exists()))


def _live(reports: Reports, role: str, clock: Callable[[], float]) -> float:
    return float(sum(found == role for found, _ in reports.living(clock())))


def _lag(
    reports: Reports, role: str, head: Callable[[], Position], clock: Callable[[], float]
) -> float:
    return float(reports.farthest_behind(role, head(), clock()))
