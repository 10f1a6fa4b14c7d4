"""The sub-commands that this package brings: simulate and soak.

*main.* Each reads its options and calls the module that does the work, which is imported inside. A
command line must start fast, and `sie --help` needs none of it.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["simulate", "soak"]

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def simulate(
    seed: Annotated[int | None, typer.Option(help="The first seed; alone, its story too.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many, counting up.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Faults in one run.")] = 10,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Gateways and workers; by default 3, or 4 processes."),
    ] = None,
    faults: Annotated[
        str, typer.Option(help="Kinds of fault, by comma; `none` for none; all by default.")
    ] = "all",
    log: Annotated[
        Path | None, typer.Option(help="A history: NDJSON of `sie log entries`.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Fresh seeds for so long.")] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="Real processes, on this machine, not a simulation.")
    ] = False,
    requests: Annotated[
        bool,
        typer.Option("--requests", help="Requests through gateways and workers, not the log."),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Seeds at once, each a process.")] = 1,
    as_json: Json = False,
) -> None:
    """Put the cluster through faults, in a simulated world or as real processes, and judge it."""
    from sie_testing.simulate import Options, run  # noqa: PLC0415 - see the module's docstring

    options = Options(
        seed=seed,
        seeds=seeds,
        steps=steps,
        replicas=replicas,
        faults=faults,
        log=log,
        minutes=minutes,
        as_json=as_json,
        processes=processes,
        jobs=jobs,
        requests=requests,
    )
    sys.exit(run(options))


_MINUTES = typer.Option(help="How long in all; 10, or each fault of --chaos once.")
_NUMBERS = typer.Option("--numbers", help="Only the numeric tests, under every instruction set.")
_CLIENTS = typer.Option("--clients", help="Published clients, each in an environment of its own.")
_MUTANTS = typer.Option("--mutants", help="The table of mutants, then generated ones.")
_IMAGES = typer.Option("--images", help="Build every image, list it, start each role from its own.")
_BASE = typer.Option(help="With --images: a base in the place of the Dockerfile's; or debian.")
_LAYOUTS = typer.Option(
    "--layouts", help="Random model folders, each beside the reference library."
)
_BATCHES = typer.Option("--batches", help="Batches of any shape: each text answered as alone.")
_RUNBOOKS = typer.Option(
    "--runbooks", help="A local cluster broken for each alert, and its page done."
)
_LEAF = typer.Option("--leaf", help="A site behind a leaf node, whose hub loses its brokers.")
_CHAOS = typer.Option("--chaos", help="Each fault on real processes, as a table with bounds.")
_UPGRADE = typer.Option(
    "--upgrade", help="From the last release to this and back, under load. Needs history."
)
_FROM = typer.Option(
    "--from", help="With --upgrade: a revision, or the folder of an installed checkout."
)
_FAULTS = typer.Option(help="With --chaos: its faults by name, by comma.")
_WRITE = typer.Option(help="With --chaos: the folder for chaos.json and chaos.md.")


def soak(
    minutes: Annotated[float | None, _MINUTES] = None,
    numbers: Annotated[bool, _NUMBERS] = False,
    clients: Annotated[bool, _CLIENTS] = False,
    mutants: Annotated[bool, _MUTANTS] = False,
    images: Annotated[bool, _IMAGES] = False,
    base: Annotated[str, _BASE] = "",
    layouts: Annotated[bool, _LAYOUTS] = False,
    batches: Annotated[bool, _BATCHES] = False,
    runbooks: Annotated[bool, _RUNBOOKS] = False,
    leaf: Annotated[bool, _LEAF] = False,
    chaos: Annotated[bool, _CHAOS] = False,
    upgrade: Annotated[bool, _UPGRADE] = False,
    release: Annotated[str, _FROM] = "",
    faults: Annotated[str, _FAULTS] = "all",
    write: Annotated[Path | None, _WRITE] = None,
) -> None:
    """Look for what no fixed seed finds: machines, simulation and processes, with fresh seeds."""
    length = 10.0 if minutes is None else minutes
    timed = ("--minutes", str(length))
    words = {"layouts": timed, "batches": timed, "images": ("--base", base)}
    chosen = {"clients": clients, "mutants": mutants, "layouts": layouts, "images": images}
    chosen |= {"runbooks": runbooks, "leaf": leaf, "batches": batches}
    for program in (name for name, wanted in chosen.items() if wanted):
        from sie_testing.soak.published import run_program  # noqa: PLC0415

        sys.exit(run_program(program, *words.get(program, ())))
    if upgrade:
        from sie_testing.soak.upgrade import run_upgrade  # noqa: PLC0415

        sys.exit(run_upgrade(release))
    if chaos:
        from sie_testing.chaos.report import run_table  # noqa: PLC0415

        sys.exit(run_table(faults, minutes=minutes, folder=write))
    if faults != "all" or write is not None or release or base:
        from sie_schemas.errors import FixRequest  # noqa: PLC0415

        raise FixRequest(
            "--faults and --write go with --chaos, --from with --upgrade, --base with --images"
        )
    from sie_testing.soak.turns import run_numbers, run_soak  # noqa: PLC0415

    sys.exit(run_numbers() if numbers else run_soak(length))
