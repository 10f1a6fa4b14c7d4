"""The glossary: each word once, each owned by a module that is there, each in use; and at hand."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/glossary.md"
ROWS = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| `(.+?)` \|$", PAGE.read_text(), re.MULTILINE)
PROSE = [path for path in (ROOT / "docs").rglob("*.md") if path != PAGE]
WRITTEN = [*PROSE, ROOT / "README.md", ROOT / "SECURITY.md"]


def test_each_word_is_defined_once():
    words = [word for word, _, _ in ROWS]

    assert len(words) > 40
    assert len(words) == len(set(words))
    assert len(words) == PAGE.read_text().count("| **")


@pytest.mark.parametrize(("word", "module"), [(word, module) for word, _, module in ROWS])
def test_a_word_is_owned_by_a_module_and_used(word, module):
    pattern = re.compile(rf"\b{word}(s|es)?\b", re.IGNORECASE)
    owner = Path(inspect.getfile(importlib.import_module(module))).read_text()

    assert any(pattern.search(text) for text in [owner, *[path.read_text() for path in WRITTEN]])


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_the_glossary_is_at_hand_on_every_page(path):
    assert "glossary.md" in path.read_text()
