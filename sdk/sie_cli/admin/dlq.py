"""`sie dlq`: the dead letters of a cluster.

*main.* Reads options and calls `dead_letters`, imported inside: a command line must start fast.
"""

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sie_cli.config.config_options import Output, Page

if TYPE_CHECKING:
    from sie_runtime.broker.bus import BusSettings

__all__ = ["app"]

_T = TypeVar("_T")

app = typer.Typer(help="Jobs that failed for good: list, show, run again, drop.")

Data = Annotated[Path, typer.Option(help="The folder of a local cluster.")]
Url = Annotated[str, typer.Option("--nats-url", help="The broker of another cluster.")]
Number = Annotated[int, typer.Argument(min=1, help="The letter's number, as `ls` shows it.")]


@app.command("ls")
def list_(data: Data = Path(".sie"), nats_url: Url = "", output: Output = "table") -> None:
    """List every dead letter, oldest first."""
    from sie_cli.admin.dead_letters import list_letters  # noqa: PLC0415 - see the module's docstring
    from sie_cli.show.printing import Form, print_rows  # noqa: PLC0415

    found = _run(list_letters(_access(data, nats_url)))
    columns = ["number", "at", "code", "model_id", "message"]
    more = ["request_id", "tenant", "adapter", "items", "deliveries", "worker_id", "payload_kept"]
    names = [str(letter["number"]) for letter in found]
    print_rows(found, columns, Form(output), more=more, names=names)


@app.command()
def show(
    number: Number,
    data: Data = Path(".sie"),
    nats_url: Url = "",
    contents: Annotated[
        bool, typer.Option("--contents", help="Show what the request held, where it was kept.")
    ] = False,
    output: Page = "table",
) -> None:
    """Show one dead letter: all that is known of it."""
    from sie_cli.admin.dead_letters import show_letter  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_value  # noqa: PLC0415

    found = _run(show_letter(_access(data, nats_url), number, contents=contents))
    print_value(found, Form(output))


@app.command()
def retry(
    number: Number,
    data: Data = Path(".sie"),
    nats_url: Url = "",
    within_s: Annotated[float, typer.Option(min=0.1, help="How long it may take.")] = 60.0,
) -> None:
    """Run the job again; the letter is dropped when it succeeds."""
    from sie_cli.admin.dead_letters import retry_letter  # noqa: PLC0415

    done = _run(retry_letter(_access(data, nats_url), number, within_s=within_s))
    typer.echo(f"run again by {done['worker_id']}; dead letter {number} is dropped")


@app.command()
def drop(
    numbers: Annotated[list[int], typer.Argument(min=1, help="The letters' numbers.")],
    data: Data = Path(".sie"),
    nats_url: Url = "",
) -> None:
    """Forget dead letters."""
    from sie_cli.admin.dead_letters import drop_letters  # noqa: PLC0415

    _run(drop_letters(_access(data, nats_url), numbers))
    typer.echo(f"dropped {len(numbers)}")


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    import asyncio  # noqa: PLC0415

    return asyncio.run(work)


def _access(data: Path, nats_url: str) -> "BusSettings":
    from sie_cli.access.operator_access import broker_access  # noqa: PLC0415

    return broker_access(data.absolute(), nats_url, os.environ)
