"""The zoo: a copy of the checkout in which one mutant at a time lives.

*shell.* Owns a temporary folder, and a process (`nursery`) that forks for each run of tests.
Promises that the checkout itself is never changed, and that a mutant is killed only by a test that
failed: one that could not be collected kills nothing. Whether the same tests pass without the
mutant is asked with `failing_unmutated`.
"""

import compileall
import hashlib
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.mutants import nursery
from tests.mutants.mutant import Mutant, mutated

__all__ = ["LIBRARIES", "Outcome", "Zoo", "digest_of"]

LIBRARIES: Final = (
    "pytest",
    "_pytest.terminal",
    "hypothesis.stateful",
    "pytest_asyncio",
    "torch",
    "transformers",
    "numpy",
    "msgspec",
    "fastapi",
    "starlette.testclient",
    "httpx",
    "uvicorn",
    "nats",
    "typer",
    "rich.console",
    "yaml",
    "prometheus_client",
    "safetensors",
    "tokenizers",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "opentelemetry.sdk.trace",
    "sqlite3",
)
"""Imported once, before any fork: what takes long and is not ours."""

_COPIED: Final = ("shared", "testing", "control_plane", "data_plane", "sdk", "tests", "docs")
_SINGLE_FILES: Final = ("pyproject.toml", "README.md", "sie")
_SOURCES: Final = (
    "shared/schemas",
    "shared/core",
    "shared/runtime",
    "shared/catalog",
    "shared/layouts",
    "testing",
    "control_plane",
    "data_plane",
    "sdk",
)
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", re.MULTILINE)
_HUNG: Final = "Timeout ("
"""The beginning of what pytest-timeout says of a test."""
_TESTS_FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of a mutant. `killer` is the test that saw it, empty if none did."""

    mutant: str
    killer: str
    seconds: float
    hung: bool = False
    """True where a test, or all of them, did not end in time."""
    digest: str = ""
    output: str = ""


class Zoo:
    """A copy of a checkout. Used as a context: the copy is gone at its end."""

    def __init__(
        self,
        checkout: Path,
        *,
        timeout_s: float,
        test_timeout_s: int = 60,
        profile: str = "mutants",
        libraries: Sequence[str] = LIBRARIES,
    ) -> None:
        self._checkout = checkout
        self._timeout_s = timeout_s
        self._test_timeout_s = test_timeout_s
        self._profile = profile
        self._libraries = libraries
        self._folder = tempfile.TemporaryDirectory(prefix="sie-mutants-")
        self._root = Path(self._folder.name)

    def __enter__(self) -> "Zoo":
        for name in _COPIED:
            if (self._checkout / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(self._checkout / name, self._root / name, ignore=ignored)
        for name in _SINGLE_FILES:
            if (self._checkout / name).is_file():
                shutil.copy2(self._checkout / name, self._root / name)
        # Bytecode that knows its source by a hash: an edit in the same second is another source.
        compileall.compile_dir(
            self._root, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
        )
        # A test that fails needs no smallest example here: neither profile shrinks.
        path = os.pathsep.join(str(self._root / source) for source in _SOURCES)
        environment = {**os.environ, "PYTHONPATH": path, "HYPOTHESIS_PROFILE": self._profile}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._nursery = subprocess.Popen(
            [sys.executable, "-P", nursery.__file__, *self._libraries],
            cwd=self._root,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # At the end of its input it ends by itself.
        self._nursery.communicate()
        self._folder.cleanup()

    def failing_unmutated(self, tests: Sequence[str]) -> str:
        """The output of these tests without any mutant; empty if all pass."""
        status, output = self._pytest(tests, stop_at_first=False)
        return "" if status == 0 else output

    def run(self, mutant: Mutant) -> Outcome:
        """Let one mutant live for the time of its tests. Raises `NotApplicable`."""
        texts = mutated(self._root, mutant)
        whole = {path: path.read_text() for path in texts}
        started = time.monotonic()
        try:
            for path, text in texts.items():
                path.write_text(text)
            status, output = self._pytest(mutant.killers, stop_at_first=True)
        finally:
            for path, text in whole.items():
                path.write_text(text)
        seconds = time.monotonic() - started
        failed = _FAILED.search(output) if status == _TESTS_FAILED else None
        return Outcome(
            mutant.name,
            killer=failed[1] if failed else "",
            seconds=round(seconds, 1),
            hung=status is None or (failed is not None and _HUNG in (failed[2] or "")),
            digest=digest_of(mutant),
            output=output,
        )

    def _pytest(self, tests: Sequence[str], *, stop_at_first: bool) -> tuple[int | None, str]:
        argv = ["-q", "--tb=no", "-rfE", f"--timeout={self._test_timeout_s}", "-p", "no:xdist"]
        # The libraries were imported without it: their assertions need no better words here.
        argv += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        argv += ["-x"] if stop_at_first else []
        request = {"argv": [*argv, *tests], "timeout_s": self._timeout_s}
        if self._nursery.stdin is None or self._nursery.stdout is None:
            raise AssertionError("the nursery has no pipes")
        self._nursery.stdin.write(json.dumps(request) + "\n")
        self._nursery.stdin.flush()
        answer = json.loads(self._nursery.stdout.readline())
        if answer["status"] is None:
            return None, f"{answer['output']}\nno end within {self._timeout_s:g} s"
        return answer["status"], answer["output"]


def digest_of(mutant: Mutant) -> str:
    """Another one for another edit or other tests."""
    return hashlib.sha256(repr((mutant.edits, mutant.killers)).encode()).hexdigest()[:12]
