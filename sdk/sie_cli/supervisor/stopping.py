"""Stops a cluster from outside, by its record.

*shell.* Signals only processes whose start time is the recorded one. The supervisor is asked first,
since it knows the order; when it is gone, what it left is stopped in the order of a drain.
"""

import os
import signal
import time
from pathlib import Path

from sie_cli.access import state
from sie_cli.access.state import ProcessRecord
from sie_cli.plan.plans import DRAIN_ORDER
from sie_cli.plan.settings import ClusterSettings
from sie_schemas.errors import FixRequest

__all__ = ["stop_cluster", "stop_leftovers"]


def stop_cluster(data: Path, settings: ClusterSettings) -> bool:
    """Stop the cluster of a folder; False when none ran there.

    Raises `FixRequest` where another one is started meanwhile.
    """
    record, supervisor = state.load(data), state.holder(data)
    if record is None and supervisor is None:
        return False
    processes = record.processes if record is not None else ()
    found = supervisor is not None or any(process.alive for process in processes)
    if supervisor is not None:
        # It drains one group after another; while it starts, the record does not say how many.
        groups = max(len(processes), len(DRAIN_ORDER)) + 1
        _stop(supervisor, drain_s=settings.drain_s * groups, poll_s=settings.poll_s)
    with state.held(data):
        stop_leftovers(data, settings)
    return found


def stop_leftovers(data: Path, settings: ClusterSettings) -> list[str]:
    """Stop what a dead supervisor left and clear its record; gives the roles that still ran."""
    roles = []
    for process in _left(data):
        if process.alive:
            roles.append(process.role)
            _stop(process, drain_s=settings.drain_s, poll_s=settings.poll_s)
    state.clear(data)
    return roles


def _left(data: Path) -> list[ProcessRecord]:
    """The processes on record, in the order of a drain, and those started and not recorded yet."""
    record = state.load(data)
    recorded = sorted(
        record.processes if record is not None else (),
        key=lambda process: DRAIN_ORDER.index(process.role.partition("-")[0]),
    )
    # Those on record bear the mark too: they are gone when their second turn comes.
    return recorded + state.marked(data)


def _stop(process: ProcessRecord, *, drain_s: float, poll_s: float) -> None:
    for number, patience_s in ((signal.SIGTERM, drain_s), (signal.SIGKILL, drain_s)):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise FixRequest(
                f"{process.role} (process {process.pid}) belongs to another user: stop it as that "
                "user"
            ) from error
        deadline = time.monotonic() + patience_s
        while process.alive and time.monotonic() < deadline:
            time.sleep(poll_s)
        if not process.alive:
            return
