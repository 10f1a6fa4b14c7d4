"""A mutant lives in a copy, in a fork that imported nothing of ours; what hangs is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mutants.__main__ import by_file, keep, kept
from tests.mutants.mutant import Mutant, edit
from tests.mutants.zoo import Outcome, Zoo, digest_of

_SOURCE = "shared/core/counted.py"
_TESTS = """
import subprocess, sys, time
import counted

def test_here():
    assert counted.up(1) == 2

def test_in_a_process_that_it_starts():
    told = subprocess.run([sys.executable, "-c", "import counted; print(counted.up(1))"],
                          capture_output=True, text=True, check=True)
    assert told.stdout == "2\\n"

def test_to_the_end():
    left = 3
    while left:
        left = counted.down(left)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("shared/core", "tests"):
        (root / folder).mkdir(parents=True)
    (root / _SOURCE).write_text(
        "def up(value):\n    return value + 1\n\ndef down(value):\n    return value - 1\n"
    )
    (root / "tests/test_counted.py").write_text(_TESTS)
    (root / "tests/test_broken.py").write_text("import no_such_module\n")
    return root


@pytest.fixture(scope="module")
def zoo(checkout: Path) -> Iterator[Zoo]:
    with Zoo(checkout, timeout_s=120.0, libraries=("pytest",)) as opened:
        yield opened


def _mutant(fragment: str, replacement: str, *tests: str) -> Mutant:
    return edit("m", "why", _SOURCE, fragment, replacement, [f"tests/{test}" for test in tests])


def test_a_mutant_is_killed_by_the_first_test_that_fails_also_in_a_process_and_then_gone(
    zoo: Zoo, checkout: Path
):
    for test in ("test_here", "test_in_a_process_that_it_starts"):
        name = f"tests/test_counted.py::{test}"
        # The same length within the same second: no bytecode of the one passes for the other.
        outcome = zoo.run(_mutant("value + 1", "value + 2", f"test_counted.py::{test}"))
        assert (outcome.killer, outcome.hung) == (name, False), outcome.output
        assert zoo.failing_unmutated([name]) == ""
    assert "value + 1" in (checkout / _SOURCE).read_text()


def test_a_mutant_lives_where_its_tests_pass_or_cannot_be_collected(zoo: Zoo):
    lives = zoo.run(_mutant("value + 1", "1 + value", "test_counted.py::test_here"))
    assert (lives.killer, lives.hung) == ("", False)
    assert zoo.run(_mutant("value + 1", "value", "test_broken.py")).killer == ""
    assert "test_broken" in zoo.failing_unmutated(["tests/test_broken.py"])


def test_a_mutant_that_hangs_is_told_and_the_next_one_runs(checkout: Path):
    with Zoo(checkout, timeout_s=2.0, libraries=("pytest",)) as zoo:
        hung = zoo.run(_mutant("value - 1", "value", "test_counted.py::test_to_the_end"))
        assert (hung.killer, hung.hung) == ("", True)
        assert "no end within 2 s" in hung.output
    with Zoo(checkout, timeout_s=120.0, libraries=("pytest",), test_timeout_s=1) as zoo:
        killed = zoo.run(_mutant("value - 1", "value", "test_counted.py::test_to_the_end"))
        assert (killed.killer, killed.hung) == ("tests/test_counted.py::test_to_the_end", True)
        assert zoo.run(_mutant("value + 1", "value", "test_counted.py::test_here")).killer


def test_a_run_goes_on_behind_the_kills_that_it_kept(tmp_path: Path):
    file = tmp_path / "kept.jsonl"
    same, edited, lived = (
        edit(name, "why", "a.py", "one", "two", ["t.py"]) for name in ("same", "edited", "lived")
    )
    assert kept(file, [same]) == []
    keep(file, Outcome("same", "t.py::t", 1.0, digest=digest_of(same), output="long"))
    keep(file, Outcome("edited", "t.py::t", 1.0, digest="that of another edit"))
    keep(file, Outcome("lived", "", 1.0, digest=digest_of(lived)))
    assert [each.mutant for each in kept(file, [same, edited, lived])] == ["same"]
    keep(file, Outcome("lived", "t.py::u", 2.0, digest=digest_of(lived)))
    assert [each.killer for each in kept(file, [same, edited, lived])] == ["t.py::t", "t.py::u"]


def test_tests_of_one_file_are_run_together_and_each_once():
    assert by_file(["b.py::y", "a.py", "b.py::x", "b.py::y"]) == [["a.py"], ["b.py::x", "b.py::y"]]
