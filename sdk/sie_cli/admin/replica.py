"""`sie replica`: what an operator does to one replica.

*main.* Each command reads its options and ends with the status that the work gives. Imports are
inside: a command line must start fast.
"""

import sys
from typing import Annotated, Literal

import typer

from sie_cli.config.config_options import ClusterFolder, Url

__all__ = ["app"]

Role = Annotated[Literal["gateway", "worker"], typer.Argument(help="What it is.")]
Id = Annotated[str, typer.Argument(help="Its id, as `sie replicas` shows it.")]

app = typer.Typer(
    name="replica",
    help="One gateway or worker as a follower of the log: resync, forget.",
    no_args_is_help=True,
)


@app.command()
def resync(role: Role, replica_id: Id, url: Url = "", data: ClusterFolder = None) -> None:
    """Have it forget its history and take the writer's snapshot: the way out of a fork."""
    from sie_cli.config.config_work import run_work  # noqa: PLC0415

    sys.exit(run_work(url, "table", lambda work: work.resync(role, replica_id), data=data))


@app.command()
def forget(role: Role, replica_id: Id, url: Url = "", data: ClusterFolder = None) -> None:
    """Give it up: no wait waits for it, and what it cannot read holds up no write."""
    from sie_cli.config.config_work import run_work  # noqa: PLC0415

    sys.exit(run_work(url, "table", lambda work: work.forget(role, replica_id), data=data))
