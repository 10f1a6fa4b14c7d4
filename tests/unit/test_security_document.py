"""SECURITY.md claims nothing that no test holds, and leaves no attack out."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "SECURITY.md").read_text()
_NAMED = re.compile(r"`(tests/[a-z_/0-9]+\.py)::(test_[a-z_0-9]+)`")
_CLAIMS = [
    row
    for part in _TEXT.split("## Threats, and what holds them")[1].split("\n## ")[:1]
    for row in part.splitlines()
    if row.startswith("| ") and not row.startswith("| Threat |")
]


def _tests_of(file: str) -> frozenset[str]:
    path = _ROOT / file
    found = re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), flags=re.MULTILINE)
    return frozenset(found)


@pytest.mark.parametrize("row", _CLAIMS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_threat_names_what_holds_it_and_tests_that_exist(row: str) -> None:
    _, threat, holds, tests, _ = row.split("|")
    assert threat.strip() and holds.strip()
    named = _NAMED.findall(tests)
    assert len(named) == tests.count("`") // 2 > 0, f"what is not a test is named: {tests}"
    for file, name in named:
        assert (_ROOT / file).is_file(), f"there is no {file}"
        assert name in _tests_of(file), f"{file} has no {name}"


def test_every_file_of_attacks_stands_in_the_model() -> None:
    there = {
        path.relative_to(_ROOT).as_posix()
        for path in (_ROOT / "tests" / "adversary").glob("test_*.py")
    }
    named = {file for file, _ in _NAMED.findall(_TEXT)}
    missing = sorted(there - named)
    assert not missing, f"add the threat that these hold to SECURITY.md: {', '.join(missing)}"


def test_it_invents_no_address_and_says_how_to_report() -> None:
    assert "## Reporting a vulnerability" in _TEXT
    assert not re.search(r"[\w.]+@[\w-]+\.\w+|https?://", _TEXT), "no address of anybody"


def test_settings_metrics_and_links_are_those_that_there_are() -> None:
    pages = sorted((_ROOT / "docs" / "operations").glob("*.md"))
    manual = "\n".join(page.read_text() for page in pages)
    metrics = (_ROOT / "docs" / "metrics.md").read_text()
    for name in re.findall(r"`(SIE_[A-Z_]+)`", _TEXT):
        assert name in manual, name
    for name in re.findall(r"`(sie_[a-z_]+_total)`", _TEXT):
        assert name in metrics + manual, name
    for target in re.findall(r"\]\(([^)#]+)", _TEXT):
        assert (_ROOT / target).is_file(), target
