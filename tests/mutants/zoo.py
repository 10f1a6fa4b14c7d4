"""The zoo: a copy of the checkout in which one mutant at a time lives.

*shell.* Owns a temporary folder. Promises that the checkout itself is never changed, and that a
mutant is killed only by a test that failed: one that could not be collected kills nothing. Whether
the same tests pass without the mutant is asked first.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.mutants.mutant import Mutant, mutated

__all__ = ["Outcome", "Zoo"]

_COPIED: Final = ("shared", "testing", "control_plane", "data_plane", "sdk", "tests", "docs")
_SINGLE_FILES: Final = ("pyproject.toml", "README.md", "sie")
_SOURCES: Final = (
    "shared/schemas",
    "shared/core",
    "shared/runtime",
    "testing",
    "control_plane",
    "data_plane",
    "sdk",
)
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)
_TESTS_FAILED: Final = 1
_ALL_KILLERS: Final = 10
"""The tests of all mutants together take longer than those of one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of a mutant. `killer` is the test that saw it, empty if none did."""

    mutant: str
    killer: str
    seconds: float
    output: str = ""


class Zoo:
    """A copy of a checkout. Used as a context: the copy is gone at its end."""

    def __init__(self, checkout: Path, *, timeout_s: float) -> None:
        self._checkout = checkout
        self._timeout_s = timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="sie-mutants-")
        self._root = Path(self._folder.name)

    def __enter__(self) -> "Zoo":
        for name in _COPIED:
            if (self._checkout / name).is_dir():
                # Bytecode is left behind: an edit in the same second could pass for the old file.
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(self._checkout / name, self._root / name, ignore=ignored)
        for name in _SINGLE_FILES:
            if (self._checkout / name).is_file():
                shutil.copy2(self._checkout / name, self._root / name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def failing_unmutated(self, mutants: Iterable[Mutant]) -> str:
        """The output of the killers of these mutants without any mutant; empty if all pass."""
        killers = sorted({killer for mutant in mutants for killer in mutant.killers})
        timeout_s = self._timeout_s * _ALL_KILLERS
        status, output = self._pytest(killers, stop_at_first=False, timeout_s=timeout_s)
        return "" if status == 0 else output

    def run(self, mutant: Mutant) -> Outcome:
        """Let one mutant live for the time of its tests. Raises `NotApplicable`."""
        texts = mutated(self._root, mutant)
        whole = {path: path.read_text() for path in texts}
        started = time.monotonic()
        try:
            for path, text in texts.items():
                path.write_text(text)
            status, output = self._pytest(
                mutant.killers, stop_at_first=True, timeout_s=self._timeout_s
            )
        finally:
            for path, text in whole.items():
                path.write_text(text)
        seconds = time.monotonic() - started
        failed = _FAILED.search(output) if status == _TESTS_FAILED else None
        return Outcome(mutant.name, failed[1] if failed else "", seconds, output)

    def _pytest(
        self, tests: Sequence[str], *, stop_at_first: bool, timeout_s: float
    ) -> tuple[int, str]:
        argv = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "--timeout=60"]
        argv += ["-x"] if stop_at_first else []
        path = os.pathsep.join(str(self._root / source) for source in _SOURCES)
        # A test that fails needs no smallest example here: profile `mutants` shrinks nothing.
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_PROFILE": "mutants",
        }
        try:
            done = subprocess.run(
                [*argv, *tests],
                cwd=self._root,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, f"no end within {timeout_s:g} s"
        return done.returncode, done.stdout + done.stderr
