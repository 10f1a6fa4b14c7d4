"""The page of settings is what the code takes, and names nothing that needs no turning."""

import re
from pathlib import Path

import pytest
from tests.support.settings_page import PAGE, PROCESSES, constants, page, settings

from sie_runtime.settings import SettingsError, parse

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


ADDRESSES = [
    pytest.param(prefix, cls, field, id=f"{prefix}_{field.name.upper()}")
    for prefix, (_, cls) in PROCESSES.items()
    for field in settings(cls)
    if field.name.endswith("_url")
]


@pytest.mark.parametrize(("prefix", "cls", "field"), ADDRESSES)
@pytest.mark.parametrize("text", ["", " ", ","])
def test_an_address_that_is_wanted_is_refused_by_name_where_it_is_empty(prefix, cls, field, text):
    wanted = {"SIE_CONFIG": {"SIE_CONFIG_DATA_DIR": "/tmp"}}.get(prefix, {})
    name = f"{prefix}_{field.name.upper()}"

    def read():
        return parse(cls, prefix=prefix, argv=(), environ=wanted | {name: text})

    if field.default:
        with pytest.raises(SettingsError, match=f"^{name} is empty: give an address"):
            read()
    else:
        # Absent by default, and so it is in a chart's template.
        assert getattr(read(), field.name) in (text, None)


@pytest.mark.parametrize("name", ["sie-config", "sie-gateway", "sie-worker", "sie-server"])
def test_every_setting_says_what_it_is(name):
    [cls] = [cls for program, cls in PROCESSES.values() if program == name]

    assert all(len(str(field.metadata["help"])) > 10 for field in settings(cls))
