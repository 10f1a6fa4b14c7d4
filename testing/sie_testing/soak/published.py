"""Published clients, as `sie soak --clients` runs them: a checkout's own programs.

*shell.* Exit status as `sie simulate`: 3 where there is nothing to run.
"""

import subprocess
import sys

import typer

from sie_testing.soak.instruction_sets import checkout

__all__ = ["run_clients"]


def run_clients() -> int:
    """Run every published client against a gateway; the exit status."""
    root = checkout()
    if root is None:
        typer.echo("the clients' programs are in a checkout, and this is none")
        return 3
    return subprocess.run(
        [sys.executable, "-m", "tests.support.clients_page"], cwd=root, check=False
    ).returncode
