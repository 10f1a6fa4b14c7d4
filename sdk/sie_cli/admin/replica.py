"""`sie replica`: what an operator does to one replica.

*main.* Each command reads its options and ends with the status that the work gives. Imports are
inside: a command line must start fast.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sie_cli.config.config_options import command

if TYPE_CHECKING:
    from sie_cli.config.config_work import Work

__all__ = ["app"]

Role = Annotated[Literal["gateway", "worker"], typer.Argument(help="What it is.")]
Id = Annotated[str, typer.Argument(help="Its id, as `sie replicas` shows it.")]

app = typer.Typer(
    name="replica",
    help="One gateway or worker as a follower of the log: resync, forget.",
    no_args_is_help=True,
)


@app.command()
@command
def resync(work: "Work", role: Role, replica_id: Id) -> int:
    """Have it forget its history and take the writer's snapshot: the way out of a fork."""
    from sie_cli.config import writes  # noqa: PLC0415

    return writes.resync(work, role, replica_id)


@app.command()
@command
def forget(work: "Work", role: Role, replica_id: Id) -> int:
    """Give it up: no wait waits for it, and what it cannot read holds up no write."""
    from sie_cli.config import writes  # noqa: PLC0415

    return writes.forget(work, role, replica_id)
