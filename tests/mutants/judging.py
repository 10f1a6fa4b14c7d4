"""The judging of generated mutants: each in a fork of one process that has imported everything.

*shell.* A pytest plugin takes the place of the loop over the collected tests. It forks for each
mutant, which is then put into the loaded modules. A start of pytest costs seconds, and a fork
milliseconds. A bound is one of processor time: a busy machine kills no mutant. A change
that cannot be put in is judged by a process of its own.
"""

import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.mutants import planted
from tests.mutants.grafted import graft

__all__ = ["CHECKOUT", "Judge", "Target", "Unfit", "name_of"]

CHECKOUT: Final = Path(__file__).parents[2]
_TIMES_AS_LONG: Final = 10.0
"""A change that makes the tests of a module take so many times as long is seen, as one that fails
them is."""
_LEAST_S: Final = 3.0
_WALL_TIMES: Final = 8.0
"""Times as long as its processor time a mutant may last: for one that waits and does nothing."""
_MEMORY_BYTES: Final = 2**31
"""Beyond what was there before: a loop that fills memory ends sooner than the machine does."""
_LIVES: Final = 0
_DIED: Final = 1
_OUT_OF_REACH: Final = 2
_FIRST: Final = 3
"""The exit status of a child whose first test has failed; the next one's is one more."""
_LAST: Final = 250


class Unfit(Exception):
    """The tests of a module fail without any mutant, or a module without a change has one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A module, and the tests that are to see every change of it."""

    module: str
    tests: tuple[str, ...]


def name_of(target: Target) -> str:
    """The name that a module is imported by."""
    parts = target.module.removesuffix(".py").split("/")
    start = next(place for place, part in enumerate(parts) if part.startswith("sie_"))
    return ".".join(parts[start:])


class Judge:
    """The plugin. `judge` is called with it once everything is collected."""

    def __init__(self, judge: Callable[["Judge"], None]) -> None:
        self._judge = judge
        self._items: list[pytest.Item] = []
        self._bound_s = 0.0
        self.failed: Unfit | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge in place of running what was collected."""
        self._session = session
        try:
            self._judge(self)
        except Unfit as error:
            self.failed = error
        return True

    def begin(self, target: Target) -> None:
        """Measure the tests of a module without any mutant. Raises `Unfit`."""
        self._items = [
            item
            for item in self._session.items
            if item.nodeid.partition("[")[0].startswith(target.tests)
        ]
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._bound_s = 1800.0
        if self._status(lambda: 1):
            raise Unfit(f"the tests of {target.module} fail without any mutant")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        self._bound_s = _LEAST_S + _TIMES_AS_LONG * took_s
        source = (CHECKOUT / target.module).read_text()
        if self._status(lambda: self._graft(target, source)) != _OUT_OF_REACH:
            raise Unfit(f"{target.module} is not the same where it is put in unchanged")

    def lives(self, target: Target, code: str) -> bool:
        """True if the tests of the module that `begin` was given pass with this change."""
        status = self._status(lambda: self._graft(target, code))
        if _FIRST <= status < _LAST:
            # Who killed one kills the next one, too: neighbours are alike.
            self._items.insert(0, self._items.pop(status - _FIRST))
        if status == _OUT_OF_REACH:
            return _lives_apart(target, code, self._bound_s)
        return status == _LIVES

    def _graft(self, target: Target, code: str) -> int:
        return graft(name_of(target), str(CHECKOUT / target.module), code)

    def _status(self, change: Callable[[], int]) -> int:
        child = os.fork()
        if not child:
            self._be_judged(change)
        until = time.monotonic() + _WALL_TIMES * self._bound_s
        while time.monotonic() < until:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return _DIED if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(child, 9)
        os.waitpid(child, 0)
        return _DIED

    def _be_judged(self, change: Callable[[], int]) -> None:
        """The life of a child; it never returns."""
        status = _DIED
        with contextlib.suppress(BaseException):
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            _bound(self._bound_s)
            status = self._first_failure() if change() else _OUT_OF_REACH
        os._exit(status)

    def _first_failure(self) -> int:
        items: Sequence[pytest.Item] = self._items
        for place, item in enumerate(items):
            following = items[place + 1] if place + 1 < len(items) else None
            self._session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._session.testsfailed:
                return min(_FIRST + place, _LAST)
        return _LIVES


def _bound(seconds: float) -> None:
    """From now on so much processor time, and so much more memory."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until_s = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until_s, until_s))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _lives_apart(target: Target, code: str, bound_s: float) -> bool:
    """True if the tests pass in a process that never saw the module without its change."""
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / "changed.py"
        changed.write_text(code)
        options = ["-x", "-q", "--tb=no", "-p", "no:xdist", "-p", planted.__name__]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *target.tests],
                cwd=CHECKOUT,
                env={**os.environ, planted.NAME: name_of(target), planted.CODE: str(changed)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # A start of Python and all imports are no part of the bound.
                timeout=_WALL_TIMES * (bound_s + 60.0),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
