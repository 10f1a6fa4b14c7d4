"""`sie doctor`, `sie top`, `sie support-bundle`: what is wrong, how it runs, and a file of both.

*main.* Reads options and calls the modules beside it, imported inside: a command line must start
fast.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sie_cli.config.config_options import ClusterFolder, ContextName, Page, Url

__all__ = ["doctor", "support_bundle", "top"]

GatewayUrl = Annotated[
    str, typer.Option(help="A gateway; else the local one, or the one that sie-config knows.")
]


def doctor(
    url: Url = "",
    data: ClusterFolder = None,
    context: ContextName = "",
    gateway_url: GatewayUrl = "",
    output: Page = "table",
) -> None:
    """Say what is wrong in the whole cluster: evidence and next command; status 1 if anything is
    bad."""
    from sie_cli.diagnosis.facts import gather, place_of  # noqa: PLC0415
    from sie_cli.diagnosis.report import show_verdict  # noqa: PLC0415
    from sie_cli.diagnosis.verdict import judge  # noqa: PLC0415
    from sie_cli.show.printing import Form  # noqa: PLC0415

    form = Form(output)
    verdict = judge(gather(place_of(url, data, context, gateway_url)))
    sys.exit(show_verdict(verdict, form))


def top(
    url: Url = "",
    data: ClusterFolder = None,
    context: ContextName = "",
    gateway_url: GatewayUrl = "",
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    count: Annotated[
        int, typer.Option("-n", min=0, help="So many looks; 0: until Ctrl-C, or one in a pipe.")
    ] = 0,
    output: Page = "table",
) -> None:
    """Show how the cluster runs, as it changes: head, replicas, workers, queues, models."""
    from sie_cli.diagnosis.facts import place_of  # noqa: PLC0415
    from sie_cli.diagnosis.screen import show_top  # noqa: PLC0415
    from sie_cli.show.printing import Form  # noqa: PLC0415

    form = Form(output)
    place = place_of(url, data, context, gateway_url)
    show_top(place, form, every_s=every, count=count)


def support_bundle(
    file: Annotated[
        Path | None, typer.Argument(help="The file to write; else one named by the moment.")
    ] = None,
    url: Url = "",
    data: ClusterFolder = None,
    context: ContextName = "",
    gateway_url: GatewayUrl = "",
    lines: Annotated[
        int, typer.Option(min=0, help="The newest lines of each process's log.")
    ] = 2000,
) -> None:
    """Write one file for whoever helps: verdict, figures, positions, log lines. No secret, and no
    text of a user, is in it."""
    from sie_cli.diagnosis.bundle import write_bundle  # noqa: PLC0415
    from sie_cli.diagnosis.facts import place_of  # noqa: PLC0415
    from sie_schemas.errors import visible  # noqa: PLC0415

    place = place_of(url, data, context, gateway_url)
    for line in write_bundle(place, file, lines_max=lines):
        typer.echo(visible(line), err=line.startswith("  "))
