"""The cluster without I/O in the hands of an adversary, and the coverage of its rules."""

import os
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis.stateful import RULE_MARKER

from sie_testing.world import ClusterMachine, run_machine
from sie_testing.world.machine import ANSWERS, TROUBLES, VERBS

OUTCOMES = (
    "acknowledged",
    "converged",
    "recovery",
    "corrupt refused",
    "patched",
    "reverted and back",
    "difference borne out",
)
EXAMPLES = {"dev": 250, "ci": 400, "long": 5000}


@pytest.mark.timeout(600)
def test_every_property_holds_after_every_step_and_every_rule_fires():
    profile = os.environ.get("HYPOTHESIS_PROFILE", "dev")
    examples = EXAMPLES.get(profile, settings().max_examples)
    fired: Counter[str] = Counter()
    # An invariant that is never put to the test proves nothing.
    wanted = _wanted() | set(OUTCOMES)
    # What Hypothesis draws depends on what else was imported: a rare verb may want another round.
    for steps in range(40, 46):
        fired += run_machine(examples=examples, steps=steps, derandomize=True)
        if all(fired[name] for name in wanted):
            break

    assert {name for name in wanted if not fired[name]} == set()


def _wanted() -> set[str]:
    rules = {
        name for name in dir(ClusterMachine) if hasattr(getattr(ClusterMachine, name), RULE_MARKER)
    }
    counted = {
        "adversary_acts_on_any_messages": [f"verb: {verb}" for verb in VERBS],
        "fetches_are_answered": [f"fetch answered: {answer}" for answer in ANSWERS],
        "trouble_comes_or_goes": [f"trouble: {trouble}" for trouble in TROUBLES],
    }
    return {name for rule in rules for name in counted.get(rule, [rule])}
