"""A user's policy in the cluster machine: it may refuse, and may not say what is not so."""

import pytest
from msgspec.structs import replace

from sie_config.writer.draft import Write
from sie_config.writer.rules import Delete
from sie_schemas.errors import FixRequest
from sie_testing.simulation.truth import Broken
from sie_testing.world import run_machine


def refuses_deletes(write: Write) -> Write:
    """A policy that says no, and why."""
    if any(isinstance(command, Delete) for command in write.commands):
        raise FixRequest("nothing is deleted on a Friday")
    return write


def drops_deletes(write: Write) -> Write:
    """A policy that says yes, and does something else."""
    kept = tuple(command for command in write.commands if not isinstance(command, Delete))
    return replace(write, commands=kept)


@pytest.mark.timeout(600)
def test_a_policy_that_refuses_holds_and_one_that_drops_what_it_acknowledges_is_named():
    fired = run_machine(examples=5, steps=15, derandomize=True, policy=refuses_deletes)
    assert fired["acknowledged"]

    with pytest.raises((Broken, ExceptionGroup)) as found:
        run_machine(examples=60, steps=30, derandomize=True, policy=drops_deletes)
    error = found.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert "wanted was its removal" in str(error)
