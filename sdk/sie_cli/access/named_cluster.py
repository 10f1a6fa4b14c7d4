"""The cluster that a command is for: the one that was named, or the one that runs in this folder.

*shell.* Reads the folder's record and the environment. Promises that no address is guessed. Where
no cluster is named and none of this user's runs in the folder, no command is run. The error says
how to name one. It asks no process anything.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sie_cli.access import state
from sie_cli.access.state import ClusterState
from sie_schemas.errors import FixRequest, Later

__all__ = ["HERE", "config_url", "is_alive", "running_cluster"]

HERE: Final = Path(".sie")
"""The folder of a cluster that `./sie up` starts, unless told otherwise: where one stands."""


def config_url(url: str, data: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """The address of sie-config. `url` and `data` are what the command was given.

    Raises `FixRequest` where no cluster is named, `Later` for one that is being started.
    """
    if url and data is not None:
        raise FixRequest("give --url or --data, not both: each names a cluster")
    if url:
        return url
    if data is None and environ.get("SIE_CONFIG_URL"):
        return environ["SIE_CONFIG_URL"]
    return running_cluster(
        data or HERE, "config", named_by="--url URL or SIE_CONFIG_URL"
    ).config_url


def running_cluster(folder: Path, role: str, *, named_by: str) -> ClusterState:
    """The record of the cluster of a folder, of which a process runs.

    Raises `FixRequest`, which says how else to name a cluster, and `Later`.
    """
    folder = folder.absolute()
    record = state.load(folder)
    cure = f"name it with {named_by}, or give --data with the folder of one that `sie up` started"
    if record is None:
        raise FixRequest(
            f"no cluster is named, and none runs in {folder}: {cure}", code="NOT_FOUND"
        )
    if is_alive(record, role):
        return record
    if record.supervisor.alive:
        raise Later(
            f"{role} of the cluster in {folder} does not run yet, or not at the moment: look with "
            f"`sie status --data {folder}`",
            code="NOT_READY",
        )
    raise FixRequest(
        f"the cluster in {folder} does not run any more: start it with `sie up`, or {cure}",
        code="NOT_FOUND",
    )


def is_alive(record: ClusterState, role: str) -> bool:
    """True if that very process of a cluster runs: another one may have its port by now."""
    return any(process.alive for process in record.processes if process.role == role)
