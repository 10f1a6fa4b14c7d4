"""A number that the code chose says at its line why it is that number."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("control_plane", "data_plane", "sdk", "shared", "testing")
PACKAGES = [
    *sorted(
        path.parent
        for folder in FOLDERS
        for path in [*ROOT.glob(f"{folder}/*/__init__.py"), *ROOT.glob(f"{folder}/*/*/__init__.py")]
        if not (path.parents[1] / "__init__.py").exists()
    ),
    ROOT / "benchmarks",
]


def unexplained(source: str) -> Iterator[int]:
    """The lines of a module's numbers without a docstring below and a comment above.

    Neighbours, without anything between them, may share one.
    """
    lines, body = source.splitlines(), ast.parse(source).body
    waiting: list[ast.Assign | ast.AnnAssign] = []
    for statement in body:
        is_next = bool(waiting) and waiting[-1].end_lineno == statement.lineno - 1
        if is_next and isinstance(statement, ast.Expr):
            waiting.clear()
        elif isinstance(statement, ast.Assign | ast.AnnAssign) and _is_number(statement):
            above = lines[statement.lineno - 2].startswith("#")
            if not is_next:
                yield from (each.lineno for each in waiting)
                waiting.clear()
            if not above and "#" not in lines[statement.lineno - 1]:
                waiting.append(statement)
        else:
            yield from (each.lineno for each in waiting)
            waiting.clear()
    yield from (each.lineno for each in waiting)


def _is_number(statement: ast.Assign | ast.AnnAssign) -> bool:
    """True for a constant that is a number, or one computed of numbers."""
    if isinstance(statement, ast.AnnAssign) and "Final" not in ast.unparse(statement.annotation):
        return False
    if statement.value is None:
        return False
    parts = list(ast.walk(statement.value))
    if not isinstance(statement.value, ast.BinOp | ast.Constant | ast.UnaryOp):
        return False
    values = [part.value for part in parts if isinstance(part, ast.Constant)]
    return bool(values) and all(type(value) in {int, float} for value in values)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_number_says_why(package):
    modules = sorted(package.rglob("*.py"))

    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules
        for line in unexplained(path.read_text(encoding="utf-8"))
    ]

    assert modules
    assert not found, "say in a line below why it is this number:\n" + "\n".join(found)


def test_a_number_without_a_word_is_found():
    source = (
        "A: Final = 3\n\nB: Final = 4\nC: Final = 5\n'''Both.'''\n# Why.\nD: Final = 6\n"
        "E: Final = 2 * 7\nF: Final = 'text'\nG: Final = True\nH = 8\n"
    )

    assert list(unexplained(source)) == [1, 8, 11]
