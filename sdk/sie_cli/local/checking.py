"""Runs the tests and the checks of a checkout.

*shell.* Runs each tool as its own process, from the checkout's root. Says what runs, how long it
took, and the command that runs it again. Stops at the first check that fails; runs every folder of
tests. A folder that exceeds its time budget fails. It judges nothing itself.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from sie_schemas.errors import FixRequest

__all__ = ["OPTIONAL_TOOLS", "Step", "run_checks", "run_steps", "run_tests"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command with the seconds that it may take."""

    name: str
    argv: tuple[str, ...]
    budget_s: float


CHECKS: Final = (
    Step("format", ("ruff", "format", "--check", "."), 60),
    Step("lint", ("ruff", "check", "."), 60),
    Step("types", ("mypy",), 300),
    Step("types of examples", ("mypy", "examples"), 120),
    Step("layers", ("lint-imports",), 60),
)
TEST_FOLDERS: Final = {"property": 600.0, "unit": 720.0, "integration": 960.0, "adversary": 360.0}
"""Folder of tests -> seconds it may take on two shared cores."""
_PYTEST: Final = ("pytest", "-q", "-n", "2", "--dist", "loadfile")
"""Two at a time, a file in one process: what a file starts or counts is shared by its tests."""
OPTIONAL_TOOLS: Final = {"shellcheck": "apt-get install shellcheck"}
"""Tools that some tests need and the environment cannot bring -> how they are had."""
_TIME_RAN_OUT: Final = 124
"""As `timeout` says it."""
_NO_TESTS: Final = 5
"""pytest's status where it collected none."""


def run_tests(arguments: tuple[str, ...]) -> int:
    """Run every folder of tests, or pytest with the given arguments; the exit status."""
    root = _checkout()
    if arguments:
        return run_steps((Step("pytest", ("pytest", *arguments), float("inf")),), root)
    _list_missing_tools()
    folders = [folder for folder in TEST_FOLDERS if (root / "tests" / folder).is_dir()]
    return run_steps(
        tuple(
            Step(f"tests/{folder}", (*_PYTEST, f"tests/{folder}"), TEST_FOLDERS[folder])
            for folder in folders
        ),
        root,
        to_the_end=True,
    )


def run_checks() -> int:
    """Run every check, then every test; a test that lacks its tool fails. The exit status."""
    # Tests read this (tests/conftest.py): where everything counts, nothing is left out.
    os.environ["CI"] = "true"
    return run_steps(CHECKS, _checkout()) or run_tests(())


def run_steps(steps: tuple[Step, ...], root: Path, *, to_the_end: bool = False) -> int:
    """Run steps in their order; the first status that is not 0, or 0."""
    worst = 0
    for step in steps:
        typer.secho(f"== {step.name}: {' '.join(step.argv)}", bold=True)
        started = time.monotonic()
        status = _run(step, root)
        took_s = time.monotonic() - started
        if status == 0:
            typer.echo(f"== {step.name}: passed in {took_s:.1f} s")
            continue
        why = f"exceeded its {step.budget_s:g} s" if status == _TIME_RAN_OUT else "FAILED"
        again = f".venv/bin/{' '.join(step.argv)}"
        typer.secho(f"== {step.name}: {why} after {took_s:.1f} s; again: {again}", fg="red")
        worst = worst or status
        if not to_the_end:
            break
    return worst


def _run(step: Step, root: Path) -> int:
    program = Path(sys.executable).parent / step.argv[0]
    if not program.is_file():
        raise FixRequest(f"{step.argv[0]} is not installed: pip install -e '.[dev]'")
    timeout_s = None if step.budget_s == float("inf") else step.budget_s
    try:
        status = subprocess.run(
            [str(program), *step.argv[1:]],
            cwd=root,
            timeout=timeout_s,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return _TIME_RAN_OUT
    return 0 if status == _NO_TESTS and not _has_tests(root, step) else status


def _has_tests(root: Path, step: Step) -> bool:
    return any((root / step.argv[-1]).rglob("test_*.py"))


def _list_missing_tools() -> None:
    for tool, cure in OPTIONAL_TOOLS.items():
        if shutil.which(tool) is None:
            skipped = "fail" if os.environ.get("CI") == "true" else "are skipped"
            typer.secho(f"{tool} is missing, so its tests {skipped}: {cure}", fg="yellow")


def _checkout() -> Path:
    """The checkout that this command belongs to, or the one that it runs in."""
    for folder in (Path(__file__).resolve().parents[3], Path.cwd()):
        if (folder / "pyproject.toml").is_file() and (folder / "tests").is_dir():
            return folder
    raise FixRequest("tests live in a checkout of the project: run this from its root")
