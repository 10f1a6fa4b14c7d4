"""Programs of a checkout, as `sie soak` runs them: clients, mutants, layouts, images and so on.

*shell.* Exit status as `sie simulate`: 3 where there is nothing to run.
"""

import subprocess
import sys
from collections.abc import Mapping
from typing import Final

import typer

from sie_testing.soak.instruction_sets import checkout

__all__ = ["PROGRAMS", "run_program"]

PROGRAMS: Final[Mapping[str, str]] = {
    "clients": "tests.support.clients_page",
    "mutants": "tests.mutants.generated",
    "batches": "tests.support.batch_judge",
    "layouts": "tests.support.layout_judge",
    "images": "tests.support.images",
    "runbooks": "tests.support.runbook_walks",
    "leaf": "tests.support.leaf_losses",
}
"""The module of each."""


def run_program(name: str, *words: str) -> int:
    """Run one of `PROGRAMS`; its exit status."""
    root = checkout()
    if root is None:
        typer.echo(f"the programs of --{name} are in a checkout, and this is none")
        return 3
    command = [sys.executable, "-m", PROGRAMS[name], *words]
    return subprocess.run(command, cwd=root, check=False).returncode
