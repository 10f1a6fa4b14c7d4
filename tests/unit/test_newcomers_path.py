"""CONTRIBUTING's path for newcomers: its files are there, as long as it says, and few lines."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    (file, int(lines.replace(",", "")))
    for file, lines in re.findall(
        r"^\| `([^`]+\.py)` \| .+ \| ([\d,]+) \|$",
        (ROOT / "CONTRIBUTING.md").read_text(),
        re.MULTILINE,
    )
]
LINES_MAX = 2600
OFF_MAX = 20


@pytest.mark.parametrize(("file", "lines"), ROWS)
def test_a_file_of_the_path_is_about_as_long_as_it_says(file, lines):
    assert abs(len((ROOT / file).read_text().splitlines()) - lines) <= OFF_MAX


def test_the_path_is_short():
    assert len(ROWS) >= 6
    assert sum(lines for _, lines in ROWS) <= LINES_MAX
