"""Progress is for who looks on: on a terminal, and nothing of it in a pipe or a file."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.terminal import on_terminal

PROGRAM = """
from sie_cli.show.progress import progress
with progress("writing", {unit!r}) as told:
    for done in range(1, 4):
        told(done * 1000, 3000, doing="the last" if done == 3 else "")
print("done")
"""


@pytest.mark.parametrize(("unit", "shown"), [("count", "3000/3000"), ("bytes", "3.0/3.0 kB")])
def test_who_looks_on_sees_how_far_it_is_and_nothing_of_it_stays(unit: str, shown: str) -> None:
    out, seen = on_terminal(sys.executable, "-c", PROGRAM.format(unit=unit))
    assert out == "done\n"
    assert "the last" in seen and shown in seen
    # The line is erased, and the cursor comes back.
    assert seen.rindex("\x1b[2K") > seen.rindex(shown)
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")


def test_a_file_sees_none_of_it(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+") as errors:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(unit="count")],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=True,
        )
        assert (done.stdout, errors.read()) == ("done\n", "")
    assert (tmp_path / "errors").read_text() == ""
