"""Programs of a checkout, as `sie soak` runs them: clients, generated mutants, random layouts.

*shell.* Exit status as `sie simulate`: 3 where there is nothing to run.
"""

import subprocess
import sys

import typer

from sie_testing.soak.instruction_sets import checkout

__all__ = ["run_clients", "run_layouts", "run_mutants"]


def run_clients() -> int:
    """Run every published client against a gateway; the exit status."""
    return _run("tests.support.clients_page", "the clients' programs")


def run_mutants() -> int:
    """Run the generated mutants of the chosen modules; the exit status."""
    return _run("tests.mutants.generated", "the mutants")


def run_layouts(minutes: float) -> int:
    """Judge random model folders beside the reference library for so long; the exit status."""
    return _run("tests.support.layout_judge", "random layouts", "--minutes", str(minutes))


def _run(module: str, what: str, *words: str) -> int:
    root = checkout()
    if root is None:
        typer.echo(f"{what} are in a checkout, and this is none")
        return 3
    return subprocess.run([sys.executable, "-m", module, *words], cwd=root, check=False).returncode
