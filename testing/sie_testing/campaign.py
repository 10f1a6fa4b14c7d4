"""A campaign: many runs, their coverage, and the first failures with their stories.

*shell.* Runs seeds one after the other, in a row or fresh ones for a time. Promises that a fault
which was asked for and never happened fails the campaign. So does a property that was never put to
the test. That holds as soon as it is long enough to mean something. Prints nothing itself.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sie_testing.simulation import FAULTS, Plan, Result, run_seed

__all__ = ["CHECKS", "SIMULATION", "Campaign", "Harness", "fresh_seeds", "run_campaign"]

CHECKS: Final = (
    "a replica serves the fold of a prefix",
    "a stream that was made anew held no other history",
    "a write goes through after healing",
    "a writer that was warned does not begin",
    "a writer with an older key writes nothing",
    "every acknowledged write is there",
    "every triple is equal",
    "everybody follows past a change of keys",
    "one entry and one answer for one key",
    "the stream holds the log",
    "the view of the writer says converged",
    "time never goes back in the log",
    "two replicas of one name are told apart",
    "what is acknowledged took effect",
    "what is given up, nobody could give back",
)
"""The properties that every campaign puts to the test."""

_FAILURES_MAX: Final = 5
"""One mistake fails seed after seed: five traces say as much as a thousand."""
_SEED_BITS: Final = 48
"""Two campaigns hardly share a seed, and one is short enough to be typed."""


@dataclass(frozen=True, kw_only=True)
class Harness:
    """The way to run a plan, and what such runs must have shown once there are enough of them."""

    run: Callable[[Plan], Result]
    faults: tuple[str, ...]
    checks: tuple[str, ...]
    enough_seeds: int
    """From so many on, the rarest fault should have happened several times."""


SIMULATION: Final = Harness(
    run=run_seed, faults=tuple(sorted(FAULTS)), checks=CHECKS, enough_seeds=200
)


@dataclass(slots=True)
class Campaign:
    """The outcome so far."""

    seeds: int = 0
    failures: list[Result] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    virtual_s: float = 0.0
    took_s: float = 0.0
    uncovered: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True if every run held, and everything that had to happen did."""
        return not self.failures and not self.uncovered

    def to_json(self) -> dict[str, Any]:
        """The campaign as a program reads it."""
        return {
            "passed": self.passed,
            "seeds": self.seeds,
            "seeds_per_minute": round(self.seeds * 60 / self.took_s) if self.took_s else 0,
            "virtual_s": round(self.virtual_s, 1),
            "took_s": round(self.took_s, 2),
            "failures": [{"seed": r.seed, "failure": r.failure} for r in self.failures],
            "uncovered": list(self.uncovered),
            "counts": dict(sorted(self.counts.items())),
        }


def fresh_seeds(minutes: float) -> Iterator[int]:
    """Seeds that nobody has tried, for so long."""
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        yield secrets.randbits(_SEED_BITS)


def run_campaign(
    plan: Plan,
    seeds: Iterator[int],
    *,
    on_result: Callable[[Campaign, Result], None],
    harness: Harness = SIMULATION,
    jobs: int = 1,
) -> Campaign:
    """Run `plan` with each seed, in as many processes; ends early after a few failures."""
    campaign = Campaign()
    began = time.monotonic()
    for result in _results(harness.run, plan, seeds, jobs):
        campaign.seeds += 1
        campaign.virtual_s += result.virtual_s
        campaign.took_s = time.monotonic() - began
        for name, count in result.counts.items():
            campaign.counts[name] = campaign.counts.get(name, 0) + count
        if result.failure:
            campaign.failures.append(result)
        on_result(campaign, result)
        if len(campaign.failures) >= _FAILURES_MAX:
            break
    if campaign.seeds >= harness.enough_seeds:
        wanted = [f"fault: {kind}" for kind in plan.faults]
        wanted += [f"check: {check}" for check in harness.checks]
        campaign.uncovered = tuple(name for name in wanted if not campaign.counts.get(name))
    return campaign


def _results(
    run: Callable[[Plan], Result], plan: Plan, seeds: Iterator[int], jobs: int
) -> Iterator[Result]:
    """The results in the order of the seeds, whatever the number of processes."""
    plans = (replace(plan, seed=seed) for seed in seeds)
    if jobs == 1:
        yield from map(run, plans)
        return
    with ProcessPoolExecutor(jobs) as pool:
        running: deque[Future[Result]] = deque()
        for each in plans:
            running.append(pool.submit(run, each))
            # Some take ten times as long as most, and the results come in order: with two for each
            # process the other one had nothing to do for 1.7 % of the time, with four for 0.5 %.
            if len(running) >= 4 * jobs:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
