"""The lengths in CONTRIBUTING's path for newcomers, counted.

*main.* `python -m tests.support.newcomers_path` writes them. Which files are on the path, and what
to look for in each, is written by hand.
"""

import re
from pathlib import Path
from typing import Final

__all__ = ["PAGE", "ROOT", "ROWS", "counted_page", "lines_of"]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "CONTRIBUTING.md"
ROWS: Final = re.compile(
    r"^(\| `(?P<file>[^`]+\.py)` \| .+ \| )(?P<lines>[\d,]+)( \|)$", re.MULTILINE
)
"""A row of the path: a file, words, its lines."""


def lines_of(file: str) -> int:
    """The lines of a file of the checkout."""
    return len((ROOT / file).read_text().splitlines())


def counted_page(text: str) -> str:
    """The page with each file's lines as they are."""
    return ROWS.sub(lambda row: f"{row[1]}{lines_of(row['file']):,}{row[4]}", text)


if __name__ == "__main__":
    PAGE.write_text(counted_page(PAGE.read_text()))
