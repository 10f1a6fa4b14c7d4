"""What `sie simulate` does: options to a campaign, and the campaign to words.

*shell.* Prints progress, coverage and, for a failure, the story and the command that tells it
again. Exit status: 0 when every property held, 1 when one did not, 3 when something that had to
happen never did.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from sie_schemas.errors import FixRequest
from sie_testing.campaign import Campaign, fresh_seeds, run_campaign
from sie_testing.history import read_history
from sie_testing.simulation import FAULTS, Plan, Result

__all__ = ["Options", "run"]

_SEEDS: Final = 200
_EVERY: Final = 100
_UNCOVERED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    seed: int | None
    seeds: int | None
    steps: int
    replicas: int
    faults: str
    log: Path | None
    minutes: float | None
    as_json: bool


def run(options: Options) -> int:
    """Run a campaign and tell of it; the exit status."""
    history = read_history(options.log) if options.log is not None else ()
    plan = Plan(
        seed=0,
        steps=options.steps,
        replicas=options.replicas,
        faults=_kinds(options.faults),
        history=history,
    )
    told = options.seed is not None and options.seeds is None and options.minutes is None

    def on_result(campaign: Campaign, result: Result) -> None:
        if options.as_json:
            return
        if told:
            typer.echo(result.trace, nl=False)
        elif result.failure:
            _tell_failure(options, result)
        elif campaign.seeds % _EVERY == 0:
            typer.echo(f"{campaign.seeds} seeds in {campaign.took_s:.0f} s, all well so far")

    campaign = run_campaign(plan, _seeds(options), on_result=on_result)
    if options.as_json:
        typer.echo(json.dumps(campaign.to_json()))
    else:
        _tell_coverage(campaign)
    return 1 if campaign.failures else _UNCOVERED if campaign.uncovered else 0


def _seeds(options: Options) -> Iterator[int]:
    if options.minutes is not None:
        return fresh_seeds(options.minutes)
    first = options.seed or 0
    count = options.seeds or (1 if options.seed is not None else _SEEDS)
    return iter(range(first, first + count))


def _kinds(text: str) -> tuple[str, ...]:
    if text == "all":
        return tuple(sorted(FAULTS))
    kinds = tuple(part.strip() for part in text.split(",") if part.strip() not in ("", "none"))
    unknown = sorted(set(kinds) - set(FAULTS))
    if unknown:
        raise FixRequest(f"{', '.join(unknown)}: no such fault; there are {', '.join(FAULTS)}")
    return kinds


def _tell_failure(options: Options, result: Result) -> None:
    typer.echo(result.trace, nl=False)
    command = f"sie simulate --seed {result.seed} --steps {options.steps}"
    command += f" --replicas {options.replicas} --faults {options.faults}"
    if options.log is not None:
        command += f" --log {options.log}"
    typer.secho(f"seed {result.seed} failed: {result.failure}\nagain: {command}", fg="red")


def _tell_coverage(campaign: Campaign) -> None:
    for name, count in sorted(campaign.counts.items()):
        typer.echo(f"{count:8d}  {name}")
    rate = campaign.seeds * 60 / campaign.took_s if campaign.took_s else 0
    typer.echo(
        f"{campaign.seeds} seeds, {campaign.virtual_s:.0f} virtual seconds in "
        f"{campaign.took_s:.1f} s ({rate:.0f} seeds a minute), {len(campaign.failures)} failures"
    )
    for name in campaign.uncovered:
        typer.secho(f"never happened: {name}", fg="red")
