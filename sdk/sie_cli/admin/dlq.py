"""`sie dlq`: the dead letters of a cluster.

*main.* Reads options and calls `dead_letters`, imported inside: a command line must start fast.
"""

import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sie_cli.config.config_options import ClusterFolder, ContextName, Output, Page

if TYPE_CHECKING:
    from sie_cli.access.named_cluster import Target
    from sie_runtime.broker.bus import BusSettings

__all__ = ["app"]

_T = TypeVar("_T")

app = typer.Typer(help="Jobs that failed for good: list, show, run again, drop.")

NatsUrl = Annotated[
    str,
    typer.Option(
        "--nats-url",
        help="The broker of another cluster. Its user and password: SIE_NATS_USER, "
        "SIE_NATS_PASSWORD.",
    ),
]
Number = Annotated[int, typer.Argument(min=1, help="The letter's number, as `ls` shows it.")]


@app.command("ls")
def list_(
    data: ClusterFolder = None,
    nats_url: NatsUrl = "",
    context: ContextName = "",
    output: Output = "table",
) -> None:
    """List every dead letter, oldest first."""
    from sie_cli.admin import dead_letters  # noqa: PLC0415 - see the module's docstring
    from sie_cli.show.printing import Form, print_rows  # noqa: PLC0415

    form, found = Form(output), _place(data, nats_url, context)
    rows = _run(dead_letters.list_letters(found))
    columns = ["number", "at", "code", "model_id", "message"]
    more = ["request_id", "tenant", "adapter", "items", "deliveries", "worker_id", "payload_kept"]
    names = [str(letter["number"]) for letter in rows]
    print_rows(rows, columns, form, more=more, names=names)


@app.command()
def show(
    number: Number,
    data: ClusterFolder = None,
    nats_url: NatsUrl = "",
    context: ContextName = "",
    contents: Annotated[
        bool, typer.Option("--contents", help="Show what the request held, where it was kept.")
    ] = False,
    output: Page = "table",
) -> None:
    """Show one dead letter: all that is known of it."""
    from sie_cli.admin import dead_letters  # noqa: PLC0415 - see the module's docstring
    from sie_cli.show.printing import Form, print_told, print_value  # noqa: PLC0415

    form, found = Form(output), _place(data, nats_url, context)
    told = _run(dead_letters.show_letter(found, number, contents=contents))
    if form == Form.NAME:
        print_told(told, "", form, name=str(number))
    else:
        print_value(told, form)


@app.command()
def retry(
    number: Number,
    data: ClusterFolder = None,
    nats_url: NatsUrl = "",
    context: ContextName = "",
    within_s: Annotated[float, typer.Option(min=0.1, help="How long it may take.")] = 60.0,
    output: Output = "table",
) -> None:
    """Run the job again; the letter is dropped when it succeeds."""
    from sie_cli.admin.dead_letters import retry_letter  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415

    form, place = Form(output), _place(data, nats_url, context)
    done = _run(retry_letter(place, number, within_s=within_s))
    line = f"run again by {done['worker_id']}; dead letter {number} is dropped"
    print_told({"number": number, **done}, line, form, name=str(number))


@app.command()
def drop(
    numbers: Annotated[list[int], typer.Argument(min=1, help="The letters' numbers.")],
    data: ClusterFolder = None,
    nats_url: NatsUrl = "",
    context: ContextName = "",
    output: Output = "table",
) -> None:
    """Forget dead letters."""
    from sie_cli.admin.dead_letters import drop_letters  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415

    form, place = Form(output), _place(data, nats_url, context)
    _run(drop_letters(place, numbers))
    name = "\n".join(map(str, numbers))
    print_told({"dropped": numbers}, f"dropped {len(numbers)}", form, name=name)


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    import asyncio  # noqa: PLC0415

    return asyncio.run(work)


def _place(data: Path | None, nats_url: str, context: str) -> "BusSettings | Target":
    """The broker of a cluster, or what is known of one whose broker nobody named."""
    from sie_cli.access.named_cluster import HERE, named_target  # noqa: PLC0415
    from sie_cli.access.operator_access import broker_access  # noqa: PLC0415
    from sie_schemas.errors import FixRequest  # noqa: PLC0415

    if nats_url:
        if data is not None or context:
            raise FixRequest("give --nats-url, --data or --context: each names a cluster")
        return broker_access(HERE, nats_url, os.environ)
    target = named_target("", data, context)
    if target is None:
        return broker_access((data or HERE).absolute(), "", os.environ)
    return broker_access(HERE, target.nats_url, os.environ) if target.nats_url else target
