"""The page of settings is what the code takes, and names nothing that needs no turning."""

import re
from pathlib import Path

import pytest
from tests.support.settings_page import PAGE, PROCESSES, constants, page, settings

ROOT = Path(__file__).parents[2]
MANUALS = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "SECURITY.md"]
SETTINGS_MAX = 90
"""By name, over all processes: another one needs an operator who would turn it."""


def test_the_page_is_what_the_code_takes():
    assert PAGE.read_text() == page(), f"python -m tests.support.settings_page writes {PAGE.name}"


def test_no_page_offers_what_nobody_has_a_reason_to_turn():
    named = {
        name for path in MANUALS for name in re.findall(r"`(SIE_[A-Z]+_[A-Z_]+)`", path.read_text())
    }

    assert not named & constants()


def test_there_are_no_more_settings_than_operators_turn():
    names = {field.name for _, cls in PROCESSES.values() for field in settings(cls)}

    assert len(names) <= SETTINGS_MAX


@pytest.mark.parametrize("name", ["sie-config", "sie-gateway", "sie-worker", "sie-server"])
def test_every_setting_says_what_it_is(name):
    [cls] = [cls for program, cls in PROCESSES.values() if program == name]

    assert all(len(str(field.metadata["help"])) > 10 for field in settings(cls))
