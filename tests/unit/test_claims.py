"""The promises of the pages are held by tests that are there, and quoted as they stand."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "README.md",
    "architecture.md",
    *(f"concepts/{path.name}" for path in (DOCS / "concepts").glob("*.md")),
}


ROW = r"^\| (.+) \| (?:\[[^]]+\]\(([^)]+)\)|`(README\.md)`) \| (.+) \|$"
"""A page of the site is linked; the README is not one."""


class Claim(NamedTuple):
    """A row of the page."""

    words: str
    page: str
    tests: tuple[str, ...]


def claims() -> list[Claim]:
    """Every row."""
    rows = re.findall(ROW, _text("claims.md"), re.MULTILINE)
    return [
        Claim(words, linked or plain, tuple(re.findall(r"`(test_\w+\.py::\w+)`", tests)))
        for words, linked, plain, tests in rows
    ]


def _text(page: str) -> str:
    return (DOCS.parent if page == "README.md" else DOCS).joinpath(page).read_text()


def _flat(text: str) -> str:
    """Words alone: lines, quotation and comment marks and emphasis do not count."""
    return " ".join(re.sub(r"[*#]|^\s*[|>-]", " ", text, flags=re.MULTILINE).split())


def test_each_page_of_promises_is_there():
    assert {claim.page for claim in claims()} == PAGES
    assert len(claims()) == _text("claims.md").count("\n| ") - 1


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.words[:50])
def test_a_claim_stands_in_its_page_and_its_tests_are_there(claim: Claim):
    assert _flat(claim.words) in _flat(_text(claim.page))
    assert claim.tests
    for test in claim.tests:
        file, _, name = test.partition("::")
        (path,) = (DOCS.parent / "tests").rglob(file)
        assert re.search(rf"^(async def|def|class) {name}\b", path.read_text(), re.MULTILINE), test
