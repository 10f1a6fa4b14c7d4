"""The cluster that a command is for: the one that was named, or the one that runs in this folder.

*shell.* Reads the folder's record, the environment and the contexts. Promises that no address is
guessed. Where no cluster is named and none of this user's runs in the folder, no command is run.
The error says how to name one. Where two could be meant none is taken. It asks no process
anything.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sie_cli.access import state
from sie_cli.access.contexts import read_contexts, token_of
from sie_cli.access.state import ClusterState
from sie_schemas.errors import FixRequest, Later

__all__ = [
    "HERE",
    "Target",
    "config_url",
    "is_alive",
    "named_target",
    "running_cluster",
    "target_of",
]

HERE: Final = Path(".sie")
"""The folder of a cluster that `./sie up` starts, unless told otherwise: where one stands."""


@dataclass(frozen=True, slots=True)
class Target:
    """The sie-config that a command is for.

    `token` is the context's; None leaves the environment's. `context` is the name by which it was
    found, empty where none was, and `nats_url` what that says of its broker.
    """

    url: str
    token: str | None = None
    context: str = ""
    nats_url: str = ""


def target_of(
    url: str, data: Path | None, context: str, environ: Mapping[str, str] = os.environ
) -> Target:
    """The cluster of a command, by what it was given: `url`, `data`, `context`. Else the variables
    SIE_CONFIG_URL and SIE_CONTEXT name it. Else it is the context in use, or the cluster that runs
    here.

    Raises `FixRequest`, where two could be meant too, and `Later`.
    """
    found = named_target(url, data, context, environ)
    return found or Target(config_url(url, data, environ))


def named_target(
    url: str, data: Path | None, context: str, environ: Mapping[str, str] = os.environ
) -> Target | None:
    """The same; None where it is the cluster of a folder, of which nothing is asked.

    Raises `FixRequest`.
    """
    given = [
        name for name, told in (("--url", url), ("--data", data), ("--context", context)) if told
    ]
    if len(given) > 1:
        raise FixRequest(f"give {' or '.join(given)}, not both: each names a cluster")
    if not given and environ.get("SIE_CONFIG_URL"):
        return Target(environ["SIE_CONFIG_URL"])
    name = context or ("" if given else environ.get("SIE_CONTEXT", ""))
    if not given and not name:
        name = read_contexts().in_use
        if name and state.load(HERE.absolute()) is not None:
            raise FixRequest(
                f"two clusters could be meant: the context {name!r} that is in use, and the one of "
                f"{HERE}: say --context {name} or --data {HERE}"
            )
    if not name:
        return Target(url) if url else None
    found = read_contexts().named(name)
    return Target(found.url, token_of(found), name, found.nats_url)


def config_url(url: str, data: Path | None, environ: Mapping[str, str]) -> str:
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
        data or HERE, "config", named_by="--url URL, --context NAME or SIE_CONFIG_URL"
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
