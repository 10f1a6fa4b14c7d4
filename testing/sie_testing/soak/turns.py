"""The work of `sie soak`: machines, simulations and real processes with fresh seeds, turn by turn.

*shell.* About a quarter of the time for each. In a checkout each turn also runs the numeric tests
under the next instruction set of this processor. Promises that whatever is found is printed with
what finds it again. That is a seed of the simulation or of the processes, a blob of the machine, or
the variables of an instruction set. A set whose turn did not come is named. Exit status as `sie
simulate`.
"""

import time
from collections import Counter
from functools import partial
from typing import Final

import typer

from sie_testing.campaign import SIMULATION, Campaign, Harness, fresh_seeds, run_campaign
from sie_testing.processes import PROCESSES
from sie_testing.processes.cluster import PROGRAMS
from sie_testing.processes.programs import missing_programs
from sie_testing.simulation import Plan, Result
from sie_testing.soak.instruction_sets import (
    InstructionSet,
    checkout,
    instruction_sets,
    processor_flags,
    run_numeric,
)
from sie_testing.world import run_machine

__all__ = ["run_numbers", "run_soak"]

_EXAMPLES: Final = 200
_STEPS: Final = 60
_TURN_MINUTES: Final = 0.5
_PROCESS_MINUTES: Final = 1.0
"""The minutes that a run of real processes takes: none is begun when less is left."""


def run_soak(minutes: float) -> int:
    """Soak for so long; the exit status."""
    until = time.monotonic() + minutes * 60
    counts: Counter[str] = Counter()
    missing = missing_programs(PROGRAMS)
    if missing:
        typer.echo(f"no real processes: {', '.join(missing)} are not installed")
    simulated = [(SIMULATION, "sie simulate"), *_requests()]
    numbers = _Numbers()
    while (left := (until - time.monotonic()) / 60) > 0:
        turn = min(_TURN_MINUTES, minutes / 2)
        campaigns = [_campaign(harness, command, turn) for harness, command in simulated]
        counts += _machines(turn)
        if not missing and left > 2 * turn + _PROCESS_MINUTES:
            campaigns.append(_campaign(PROCESSES, "sie simulate --processes", 0.01))
        for campaign in campaigns:
            counts += campaign.counts
            if not campaign.passed:
                return 1
        if not numbers.next_agree():
            return 1
        counts["seeds"] += sum(campaign.seeds for campaign in campaigns)
        typer.echo(f"{counts['seeds']} seeds and {counts['world_heals']} healed worlds, all well")
    for name, count in sorted(counts.items()):
        typer.echo(f"{count:8d}  {name}")
    numbers.tell()
    return 0


def _requests() -> list[tuple[Harness, str]]:
    """The simulated world of requests, where what gateways and workers need is installed."""
    try:
        from sie_testing.serving import SERVING  # noqa: PLC0415
    except ModuleNotFoundError as error:
        typer.echo(f"no simulated requests: {error.name} is not installed")
        return []
    return [(SERVING, "sie simulate --requests")]


def run_numbers() -> int:
    """Run the numeric tests under every instruction set of this processor; the exit status."""
    sets = _sets()
    agreed = [_numbers_agree(each) for each in sets]
    if not agreed:
        return 3
    return 0 if all(agreed) else 1


class _Numbers:
    """The instruction sets, one a turn."""

    def __init__(self) -> None:
        self._sets = _sets()
        self._to_come = list(reversed(self._sets))

    def next_agree(self) -> bool:
        """Run the next set, if one is left; whether all is well."""
        return not self._to_come or _numbers_agree(self._to_come.pop())

    def tell(self) -> None:
        """Tell how many had their turn, and which did not."""
        typer.echo(f"{len(self._sets) - len(self._to_come):8d}  instruction sets")
        if self._to_come:
            left = ", ".join(each.name for each in reversed(self._to_come))
            typer.echo(f"not reached: {left}; `sie soak --numbers` runs all of them")


def _sets() -> tuple[InstructionSet, ...]:
    if checkout() is None:
        typer.echo("no numeric tests: they are in a checkout only")
        return ()
    if not (sets := instruction_sets(processor_flags())):
        typer.echo("no instruction sets are known of this processor")
    return sets


def _numbers_agree(each: InstructionSet) -> bool:
    root = checkout()
    said = "" if root is None else run_numeric(each, root)
    if not said:
        typer.echo(f"{each.name}: the numeric tests pass")
        return True
    variables = " ".join(f"{name}={value}" for name, value in each.environment.items())
    typer.echo(said)
    typer.secho(f"{each.name}: the numeric tests fail", fg="red")
    typer.echo(f"again: {variables} sie test -m numeric tests/unit tests/property")
    return False


def _campaign(harness: Harness, command: str, minutes: float) -> Campaign:
    plan = Plan(seed=0, replicas=4, faults=harness.faults)
    seeds = fresh_seeds(minutes)
    return run_campaign(plan, seeds, on_result=partial(_tell, command), harness=harness)


def _machines(minutes: float) -> Counter[str]:
    until = time.monotonic() + minutes * 60
    fired: Counter[str] = Counter()
    while time.monotonic() < until:
        fired += run_machine(examples=_EXAMPLES, steps=_STEPS, derandomize=False)
    return fired


def _tell(command: str, _campaign: Campaign, result: Result) -> None:
    if result.failure:
        typer.echo(result.trace, nl=False)
        typer.secho(f"seed {result.seed} failed: {result.failure}", fg="red")
        typer.echo(f"again: {command} --seed {result.seed} --replicas 4")
