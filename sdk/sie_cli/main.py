"""The `sie` command.

*main.* Collects the sub-commands that installed packages registered under the entry-point group
`sie.commands`: a function, or a `typer.Typer` for a group of its own. Runs the one that was asked
for. An error of ours is one line on stderr and exit status 1, never a traceback.
"""

import importlib.metadata
import sys
from typing import Final

import typer

from sie_schemas.errors import SIEError

__all__ = ["build", "main"]

GROUP: Final = "sie.commands"
_PASSED_ON: Final = {"test": {"allow_extra_args": True, "ignore_unknown_options": True}}
"""`sie test` hands what it does not know to pytest."""


def build() -> typer.Typer:
    """The command with every sub-command that is installed."""
    app = typer.Typer(
        name="sie",
        help="An event-sourced inference cluster: encode, score, extract.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda each: each.name):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name, context_settings=_PASSED_ON.get(point.name))(command)
    return app


def main() -> None:
    """Run the command line of this process."""
    try:
        build()()
    except SIEError as error:
        typer.echo(f"sie: {error.message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
