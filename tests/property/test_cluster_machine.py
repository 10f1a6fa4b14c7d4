"""The cluster without I/O in the hands of an adversary, and the coverage of its rules."""

import os

import pytest
from hypothesis import settings
from hypothesis.stateful import RULE_MARKER

from sie_testing.world import ClusterMachine, run_machine
from sie_testing.world.machine import ANSWERS, TROUBLES, VERBS

EXAMPLES = {"dev": 250, "ci": 400, "long": 5000}


@pytest.mark.timeout(600)
def test_every_property_holds_after_every_step_and_every_rule_fires():
    profile = os.environ.get("HYPOTHESIS_PROFILE", "dev")
    fired = run_machine(
        examples=EXAMPLES.get(profile, settings().max_examples), steps=40, derandomize=True
    )

    rules = {name for name, rule in vars(ClusterMachine).items() if hasattr(rule, RULE_MARKER)}
    counted = {
        "adversary_acts_on_any_messages": [f"verb: {verb}" for verb in VERBS],
        "fetches_are_answered": [f"fetch answered: {answer}" for answer in ANSWERS],
        "trouble_comes_or_goes": [f"trouble: {trouble}" for trouble in TROUBLES],
    }
    wanted = {name for rule in rules for name in counted.get(rule, [rule])}
    assert {name for name in wanted if not fired[name]} == set()
    # An invariant that is never put to the test proves nothing.
    for outcome in ("acknowledged", "converged", "recovery", "corrupt refused"):
        assert fired[outcome], f"never: {outcome}"
