"""The work of `sie simulate`: options to a campaign, and the campaign to words.

*shell.* One campaign in a simulated world, or with real processes. Prints progress, coverage and,
for a failure, the story and the command that tells it again. Exit status: 0 when every property
held, 1 when one did not, 3 when something that had to happen never did.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from sie_runtime.process.lifecycle import spare_collections
from sie_schemas.errors import FixRequest
from sie_testing.campaign import SIMULATION, Campaign, Harness, fresh_seeds, run_campaign
from sie_testing.history import read_history
from sie_testing.processes import PROCESSES
from sie_testing.simulation import Plan, Result

__all__ = ["Options", "run"]

_SEEDS: Final = 200
_PROCESS_SEEDS: Final = 5
_REPLICAS: Final = 3
_PROCESS_REPLICAS: Final = 4
_EVERY_S: Final = 3.0
"""Between two lines that tell how far it is."""
_UNCOVERED: Final = 3
"""An exit status of its own: nothing broke, but something was not tried (2 is argparse's)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that were given on the command line."""

    seed: int | None
    seeds: int | None
    steps: int
    replicas: int | None
    faults: str
    log: Path | None
    minutes: float | None
    as_json: bool
    processes: bool = False
    jobs: int = 1
    requests: bool = False

    @property
    def harness(self) -> Harness:
        """The harness that runs the seeds."""
        if self.requests:
            # It needs what gateways and workers need; the simulation of the log does not.
            from sie_testing.serving import SERVING  # noqa: PLC0415

            return SERVING
        return PROCESSES if self.processes else SIMULATION


def run(options: Options) -> int:
    """Run a campaign and tell of it; the exit status."""
    plan = _plan(options)
    told = options.seed is not None and options.seeds is None and options.minutes is None

    said_at = 0.0

    def on_result(campaign: Campaign, result: Result) -> None:
        nonlocal said_at
        if options.as_json:
            return
        if result.failure:
            _tell_failure(options, result)
        elif told:
            typer.echo(result.trace, nl=False)
        elif campaign.took_s - said_at > _EVERY_S:
            said_at = campaign.took_s
            typer.echo(f"{campaign.seeds} seeds in {campaign.took_s:.0f} s, all well so far")

    spare_collections()
    campaign = run_campaign(
        plan, _seeds(options), on_result=on_result, harness=options.harness, jobs=options.jobs
    )
    if options.as_json:
        typer.echo(json.dumps(campaign.to_json()))
    else:
        _tell_coverage(campaign)
    return 1 if campaign.failures else _UNCOVERED if campaign.uncovered else 0


def _plan(options: Options) -> Plan:
    if options.requests and (options.processes or options.log is not None):
        raise FixRequest("--requests is a simulated world of its own: leave --processes and --log")
    if options.processes and options.jobs > 1:
        raise FixRequest("--jobs is for the simulated world: real processes share a machine")
    if options.processes and options.log is not None:
        raise FixRequest("--log is for the simulated world: real processes write their own log")
    usual = _PROCESS_REPLICAS if options.processes else _REPLICAS
    return Plan(
        seed=0,
        steps=options.steps,
        replicas=usual if options.replicas is None else options.replicas,
        faults=_kinds(options),
        history=read_history(options.log) if options.log is not None else (),
    )


def _seeds(options: Options) -> Iterator[int]:
    if options.minutes is not None:
        return fresh_seeds(options.minutes)
    first = options.seed or 0
    usual = _PROCESS_SEEDS if options.processes else _SEEDS
    count = options.seeds or (1 if options.seed is not None else usual)
    return iter(range(first, first + count))


def _kinds(options: Options) -> tuple[str, ...]:
    known = options.harness.faults
    if options.faults == "all":
        return known
    parts = (part.strip() for part in options.faults.split(","))
    kinds = tuple(part for part in parts if part not in ("", "none"))
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        raise FixRequest(f"{', '.join(unknown)}: no such fault; there are {', '.join(known)}")
    return kinds


def _tell_failure(options: Options, result: Result) -> None:
    command = f"sie simulate --seed {result.seed} --steps {options.steps}"
    command += f" --replicas {options.replicas}" if options.replicas is not None else ""
    command += f" --faults {options.faults}"
    command += " --processes" if options.processes else ""
    command += " --requests" if options.requests else ""
    if options.log is not None:
        command += f" --log {options.log}"
    typer.secho(f"seed {result.seed} failed: {result.failure}", fg="red")
    typer.echo(f"again: {command}\nits story:\n{result.trace}", nl=False)


def _tell_coverage(campaign: Campaign) -> None:
    for name, count in sorted(campaign.counts.items()):
        typer.echo(f"{count:8d}  {name}")
    rate = campaign.seeds * 60 / campaign.took_s if campaign.took_s else 0
    typer.echo(
        f"{campaign.seeds} seeds, {campaign.virtual_s:.0f} seconds of their own time in "
        f"{campaign.took_s:.1f} s ({rate:.0f} seeds a minute), {len(campaign.failures)} failures"
    )
    for name in campaign.uncovered:
        typer.secho(f"never happened: {name}", fg="red")
