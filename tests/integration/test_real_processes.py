"""Real processes under load, in the hands of an adversary that a seed decides.

Fresh seeds are the business of `sie soak` and `sie simulate --processes`.
"""

import pytest

from sie_testing.campaign import run_campaign
from sie_testing.processes import PROCESS_CHECKS, PROCESSES
from sie_testing.simulation import Plan

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

STEPS = 9
SEEDS = {
    22056: "broker, config, gateways killed, stream wiped, links cut and held, backup restored"
}
"""Seed: why it is here."""
WHEN_NOTHING_IS_LOST = {
    "every acknowledged write is there",
    "every answer is of the revision that its position has",
}
"""The promises of a run in which nothing is lost: whether a restore loses what nobody had seen yet
is for the machine to decide, not the seed."""


@pytest.mark.parametrize("seed", SEEDS)
def test_real_processes_keep_every_promise_whatever_is_done_to_them(seed):
    stories = []

    campaign = run_campaign(
        Plan(seed=0, steps=STEPS, replicas=4, faults=PROCESSES.faults),
        iter([seed]),
        on_result=lambda _campaign, result: stories.append(f"{result.failure}\n{result.trace}"),
        harness=PROCESSES,
    )

    assert campaign.passed, stories[0]
    always = set(PROCESS_CHECKS) - WHEN_NOTHING_IS_LOST
    assert {f"check: {check}" for check in always} <= set(campaign.counts)
