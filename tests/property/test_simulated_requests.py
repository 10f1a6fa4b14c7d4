"""The data plane in a simulated world: every law of a request, in a budget of fixed seeds."""

import os
import subprocess
import sys

import pytest

from sie_testing.campaign import run_campaign
from sie_testing.serving import SERVING, run_serving
from sie_testing.serving.faults import FAULTS
from sie_testing.simulation import Plan

SEEDS = 20
"""About ten seconds. What rarely happens is left to `sie soak`."""
ALL = SERVING.faults
TRACE = """
import hashlib
from sie_testing.serving import SERVING, run_serving
from sie_testing.simulation import Plan
plans = [Plan(seed=seed, faults=SERVING.faults) for seed in (2, 21)]
text = "".join(run_serving(plan).trace for plan in plans)
print(hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.mark.timeout(300)
def test_every_law_holds_in_every_seed_of_the_budget():
    stories = []

    campaign = run_campaign(
        Plan(seed=0, faults=ALL),
        iter(range(SEEDS)),
        on_result=lambda _campaign, result: (
            stories.append(f"seed {result.seed}: {result.failure}\n{result.trace}")
            if result.failure
            else None
        ),
        harness=SERVING,
    )

    assert not stories, stories[0]
    assert [check for check in SERVING.checks if not campaign.counts.get(f"check: {check}")] == []


FOUND = {
    "an adapter that is to be loaded beside a model which has just left": Plan(
        seed=0, steps=6, faults=("models-evicted",)
    ),
    "a large job whose contents a killed broker forgot": Plan(
        seed=55, steps=8, faults=("jobs-forgotten", "long", "link-cut")
    ),
    "a client that leaves while the model of its batch is loaded once more": Plan(
        seed=32, steps=20, faults=("models-evicted", "leaving")
    ),
    "a large job that is fetched for the second time when it is answered": Plan(
        seed=30, faults=ALL
    ),
    "a small tenant behind the last of a flood, which had begun": Plan(seed=194, faults=ALL),
    "a short text behind long ones of its own tenant, beside a crowd": Plan(
        seed=220284768445902, faults=ALL
    ),
}


@pytest.mark.parametrize("plan", FOUND.values(), ids=FOUND)
def test_a_seed_that_once_found_something_holds(plan):
    assert run_serving(plan).failure == ""


def test_one_seed_gives_one_trace_whatever_the_hash_seed():
    digests = {
        subprocess.run(
            [sys.executable, "-c", TRACE],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_each_fault_alone_is_survived(kind):
    result = run_serving(Plan(seed=1, steps=6, faults=(kind,)))
    assert not result.failure, result.trace
