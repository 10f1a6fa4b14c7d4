"""A docstring names the thing or gives the fact, in sentences that are understood at first reading.

*shell.* Reads every module of the checkout, and the strings below fields as well. None begins as a
question does, and in what is installed no sentence has more than 25 words.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ("control_plane", "data_plane", "shared", "sdk", "testing")
FOLDERS = (*INSTALLED, "benchmarks", "examples", "locks", "tests")
PARAGRAPH = re.compile(r"\n\s*\n|\n\s*(?=- |[0-9]\. )")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*])")
QUESTION = re.compile(r"\s*(What|Whether|Which|How|Where|When|Who|Why)\b")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each bare string, which documents something."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        text = node.value.value
        if isinstance(text, str):
            yield node.lineno, text


def questions(source: str) -> Iterator[int]:
    """The lines at which a docstring begins with such a word."""
    return (line for line, text in docstrings(source) if QUESTION.match(text))


def long_sentences(source: str) -> Iterator[tuple[int, str]]:
    """Line of its docstring, and text, of each sentence of more than 25 words."""
    for line, text in docstrings(source):
        for paragraph in PARAGRAPH.split(text):
            for sentence in SENTENCE.split(" ".join(paragraph.split())):
                if len(sentence.split()) > 25:
                    yield line, sentence


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_with_a_question_word(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths, "the folder has modules"
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in paths for line in questions(path.read_text())
    ]
    assert not found, "name the thing or give the fact:\n" + "\n".join(found)


@pytest.mark.parametrize("folder", INSTALLED)
def test_no_sentence_has_to_be_read_twice(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {sentence}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, sentence in long_sentences(path.read_text())
    ]
    assert not found, "make two sentences of one:\n" + "\n".join(found)


def test_a_sentence_ends_at_its_point_and_an_item_of_a_list_by_itself():
    words = "word " * 14
    assert not list(long_sentences(f'"""{words}end. {words.capitalize()}end."""\n'))
    assert not list(long_sentences(f'"""{words}:\n\n- {words}\n- {words}\n"""\n'))
    assert [line for line, _ in long_sentences(f'"""{words}, {words}"""\n')] == [1]


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
