"""What `sie soak` does: machines and simulation with fresh seeds, turn by turn, for a time.

*shell.* Half of the time for each. Promises that whatever is found is printed with what finds it
again: a seed of the simulation, a blob of the machine. Exit status as `sie simulate`.
"""

import time
from collections import Counter
from typing import Final

import typer

from sie_testing.campaign import Campaign, fresh_seeds, run_campaign
from sie_testing.simulation import Plan, Result
from sie_testing.world import run_machine

__all__ = ["run_soak"]

_EXAMPLES: Final = 200
_STEPS: Final = 60
_TURN_MINUTES: Final = 0.5


def run_soak(minutes: float) -> int:
    """Soak for so long; the exit status."""
    until = time.monotonic() + minutes * 60
    fired: Counter[str] = Counter()
    seeds = 0
    while time.monotonic() < until:
        turn = min(_TURN_MINUTES, minutes / 2)
        campaign = run_campaign(Plan(seed=0), fresh_seeds(turn), on_result=_tell)
        seeds += campaign.seeds
        if not campaign.passed:
            return 1
        fired += _machines(turn)
        typer.echo(f"{seeds} seeds and {fired['world_heals']} healed worlds, all well so far")
    for name, count in sorted(fired.items()):
        typer.echo(f"{count:8d}  {name}")
    return 0


def _machines(minutes: float) -> Counter[str]:
    until = time.monotonic() + minutes * 60
    fired: Counter[str] = Counter()
    while time.monotonic() < until:
        fired += run_machine(examples=_EXAMPLES, steps=_STEPS, derandomize=False)
    return fired


def _tell(_campaign: Campaign, result: Result) -> None:
    if result.failure:
        typer.echo(result.trace, nl=False)
        typer.secho(f"seed {result.seed} failed: {result.failure}", fg="red")
        typer.echo(f"again: sie simulate --seed {result.seed}")
