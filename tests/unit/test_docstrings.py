"""A docstring names the thing or gives the fact: none begins as a question does.

*shell.* Reads every module of the checkout, and the strings below fields as well.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    *("control_plane", "data_plane", "shared", "sdk", "testing"),
    *("benchmarks", "examples", "locks", "tests"),
)
QUESTION = re.compile(r"\s*(What|Whether|Which|How|Where|When|Who|Why)\b")


def questions(source: str) -> Iterator[int]:
    """The lines at which a bare string, which documents something, begins with such a word."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        text = node.value.value
        if isinstance(text, str) and QUESTION.match(text):
            yield node.lineno


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_with_a_question_word(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, "the folder has modules"
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in paths for line in questions(path.read_text())
    ]
    assert not found, "name the thing or give the fact:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        '"""What it does."""\n',
        'class A:\n    """Who asks."""\n',
        'async def f():\n    r"""Whether it holds."""\n',
        'class A:\n    a: int = 0\n    """\n    How many."""\n',
        'def f(self):\n    self.a = 0\n    """When it came."""\n',
        'a = 0\n"""Why?"""\n',
    ],
)
def test_a_question_is_found_wherever_a_docstring_stands(source):
    assert len(list(questions(source))) == 1
    assert not list(questions(source.replace('"""', '"""The answer. ', 1)))


def test_a_longer_word_and_a_string_that_is_a_value_are_let_be():
    assert not list(questions('"""However many come."""\na = "What"\n'))
