"""The sub-commands that this package brings: up, down, status, logs, demo, test, check.

*main.* Each reads its options and calls the module that does the work, which is imported inside. A
command line must start fast, and `sie --help` needs none of it.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from sie_cli.config.config_options import Page

__all__ = ["check", "demo", "down", "logs", "status", "test", "up", "version"]

Data = Annotated[Path, typer.Option(help="The folder that holds everything of one cluster.")]


def up(
    data: Data = Path(".sie"),
    port: Annotated[
        int, typer.Option(help="The gateway's port; sie-config takes the next one.")
    ] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many workers.")] = 1,
    devices: Annotated[
        int,
        typer.Option(
            min=0,
            max=64,
            help="Execution processes behind each worker; 0: one for each GPU, else one for each "
            "core, at most two.",
        ),
    ] = 0,
    gateways: Annotated[
        int, typer.Option(min=1, max=64, help="How many gateways share the port.")
    ] = 1,
    scale_to_zero: Annotated[
        bool,
        typer.Option("--scale-to-zero", help="Workers start with demand and stop when idle."),
    ] = False,
    catalog: Annotated[
        Literal["none", "small", "all"],
        typer.Option(help="The published models that a new log holds; none is fetched unasked."),
    ] = "all",
    bundle: Annotated[
        list[str] | None,
        typer.Option(
            help="A bundle that gets a worker of its own: gliner, or one that you registered. Its "
            "packages are installed apart, once. Several: name each.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when it is ready; it runs on.")
    ] = False,
) -> None:
    """Start the whole cluster on this machine; Ctrl-C drains and stops it."""
    from sie_cli.local import supervising  # noqa: PLC0415
    from sie_cli.plan.gpus import count_gpus  # noqa: PLC0415
    from sie_cli.plan.settings import ClusterOptions, read_settings  # noqa: PLC0415

    gpus = count_gpus(os.environ)
    options = ClusterOptions(
        data=data.absolute(),
        port=port,
        workers=workers,
        gateways=gateways,
        devices=devices or gpus or min(2, len(os.sched_getaffinity(0))),
        gpus=gpus,
        scale_to_zero=scale_to_zero,
        catalog=catalog,
        bundles=tuple(bundle or ()),
    )
    run = supervising.run_detached if detach else supervising.run_foreground
    run(options, read_settings())


def down(data: Data = Path(".sie"), output: Page = "table") -> None:
    """Stop the cluster of a data folder, whether or not its supervisor still lives."""
    from sie_cli.plan.settings import read_settings  # noqa: PLC0415
    from sie_cli.show.printing import Form, print_told  # noqa: PLC0415
    from sie_cli.supervisor.stopping import stop_cluster  # noqa: PLC0415

    form = Form(output)
    stopped = stop_cluster(data.absolute(), read_settings())
    line = "stopped" if stopped else f"no cluster runs in {data.absolute()}"
    print_told({"data": str(data.absolute()), "stopped": stopped}, line, form, name=str(data))


def status(data: Data = Path(".sie"), output: Page = "table") -> None:
    """Show every process, and where each replica stands in the log."""
    from sie_cli.local.report import show_status  # noqa: PLC0415
    from sie_cli.show.printing import Form  # noqa: PLC0415

    sys.exit(show_status(data.absolute(), Form(output)))


def logs(
    roles: Annotated[
        list[str] | None, typer.Argument(help="Whose lines: gateway, worker, worker-1 …; all.")
    ] = None,
    data: Data = Path(".sie"),
    level: Annotated[str, typer.Option(help="The least level that is shown.")] = "debug",
    text: Annotated[str, typer.Option("--grep", help="Only lines that hold this text.")] = "",
    count: Annotated[int, typer.Option("-n", min=1, help="How many lines, the newest.")] = 200,
    since: Annotated[
        str, typer.Option(help="Only lines from then on: 5m, yesterday, 2026-01-31T12:00:00Z.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with lines as they are written.")
    ] = False,
    output: Page = "table",
) -> None:
    """Show the log lines of all processes, in order of time."""
    from sie_cli.local.logs import LEVELS, Wanted, show_logs  # noqa: PLC0415
    from sie_cli.show.printing import Form  # noqa: PLC0415
    from sie_cli.texts.relative_moments import time_of  # noqa: PLC0415

    if level not in LEVELS:
        raise typer.BadParameter(f"{level} is none of {', '.join(LEVELS)}")
    wanted = Wanted(tuple(roles or ()), level, text, time_of(since) if since else "")
    show_logs(data.absolute() / "logs", wanted, count, Form(output), follows=follow)


def demo(output: Page = "table") -> None:
    """Tell the whole story on a private cluster, in about a minute."""
    from sie_cli.local.demo import show_demo  # noqa: PLC0415
    from sie_cli.plan.settings import read_settings  # noqa: PLC0415
    from sie_cli.show.printing import Form  # noqa: PLC0415

    form = Form(output)
    sys.exit(show_demo(read_settings(), as_json=form.is_whole))


def test(context: typer.Context) -> None:
    """Run every test, folder by folder; with arguments, run pytest with these."""
    from sie_cli.local.checking import run_tests  # noqa: PLC0415

    sys.exit(run_tests(tuple(context.args)))


def version(output: Page = "table") -> None:
    """Say the version of this installation."""
    from sie_cli.show.printing import Form, print_lines, print_value  # noqa: PLC0415
    from sie_cli.texts.versions import version_line, versions  # noqa: PLC0415

    if Form(output).is_whole:
        print_value(versions(), Form(output))
    else:
        print_lines([version_line()])


def check() -> None:
    """Run every check and every test: the bar that a change must pass."""
    from sie_cli.local.checking import run_checks  # noqa: PLC0415

    sys.exit(run_checks())
