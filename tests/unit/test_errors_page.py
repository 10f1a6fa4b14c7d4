"""The page of errors is the table of codes, and every code that a process gives is in it."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.errors_page import PAGE, page

from sie_schemas.error_guide import GUIDE
from sie_schemas.errors import CODES

ROOT = Path(__file__).parents[2]
SOURCES = ("control_plane", "data_plane", "shared", "sdk")


def given() -> set[str]:
    """The codes that the sources give by name."""
    files = subprocess.run(
        ["find", *SOURCES, "-name", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    text = "\n".join((ROOT / name).read_text() for name in files)
    return set(re.findall(r'\bcode\s*(?::\s*str\s*)?=\s*"([A-Z_]+)"', text))


def of_others() -> set[str]:
    """The codes by which the SDK names errors of services that stand between, and gives none."""
    text = (ROOT / "sdk/sie_sdk/errors.py").read_text()
    return set(re.findall(r'^    "([A-Z_]+)": \w+Error,$', text, re.MULTILINE))


def test_the_page_is_the_table():
    assert PAGE.read_text() == page(), f"python -m tests.support.errors_page writes {PAGE.name}"


def test_every_code_that_is_given_is_in_the_table():
    assert len(given()) > 20
    assert given() - of_others() <= CODES.keys()


def test_every_code_has_its_guidance():
    assert GUIDE.keys() == CODES.keys()


@pytest.mark.parametrize("code", GUIDE)
def test_cause_and_cure_stand_in_one_row_of_a_table(code):
    text = GUIDE[code].cause, GUIDE[code].cure

    assert all(text)
    assert not {"|", "\n"} & set("".join(text))
