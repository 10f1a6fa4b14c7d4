"""CONTRIBUTING's path for newcomers: its files are there, as long as it says, and few lines."""

from tests.support.newcomers_path import PAGE, ROWS, counted_page, lines_of

LINES_MAX = 2600


def test_each_file_of_the_path_is_as_long_as_it_says():
    text = PAGE.read_text()
    assert text == counted_page(text), "python -m tests.support.newcomers_path writes the lengths"


def test_the_path_is_short():
    files = [row["file"] for row in ROWS.finditer(PAGE.read_text())]
    assert len(files) >= 6
    assert sum(map(lines_of, files)) <= LINES_MAX
