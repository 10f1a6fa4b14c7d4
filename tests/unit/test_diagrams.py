"""The diagrams: each SVG is of the source that lies beside it, and each is shown on a page."""

import re
from pathlib import Path

import pytest
from tests.support.diagrams import FOLDER, SOURCES, mark, svg_of

PAGES = sorted(FOLDER.parent.rglob("*.md"))


def shown() -> set[Path]:
    """Every picture that a page shows, with words for those who cannot see it."""
    return {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"^!\[.{20,}\]\((.+?)\)$", page.read_text(), re.MULTILINE)
    }


def test_every_picture_has_a_source():
    assert SOURCES
    assert sorted(FOLDER.glob("*.svg")) == [svg_of(source) for source in SOURCES]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_picture_is_of_its_present_source(source):
    assert mark(source) in svg_of(source).read_text(), "run: python -m tests.support.diagrams"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_picture_is_shown_on_a_page(source):
    assert svg_of(source) in shown()
