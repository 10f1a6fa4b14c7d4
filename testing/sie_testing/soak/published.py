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

PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "clients": ("tests.support.clients_page",),
    "mutants": ("tests.mutants", "tests.mutants.generated"),
    "batches": ("tests.support.batch_judge",),
    "layouts": ("tests.support.layout_judge", "tests.support.mutated_configs"),
    "images": ("tests.support.images",),
    "runbooks": ("tests.support.runbook_walks",),
    "leaf": ("tests.support.leaf_losses",),
}
"""The modules of each."""


def run_program(name: str, *words: str) -> int:
    """Run every module of one of `PROGRAMS`; the first exit status that is not 0."""
    root = checkout()
    if root is None:
        typer.echo(f"the programs of --{name} are in a checkout, and this is none")
        return 3
    commands = [[sys.executable, "-m", module, *words] for module in PROGRAMS[name]]
    ended = [subprocess.run(each, cwd=root, check=False).returncode for each in commands]
    return next(filter(None, ended), 0)
