"""No module needs another that needs it: each can be read, and tried, before what stands on it.

The layers of `pyproject.toml` hold rooms apart; this looks inside them. An import in a function
counts, one for types alone too, and a module that is imported by its name.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("shared/*", "control_plane", "data_plane", "sdk", "testing")


def modules() -> dict[str, Path]:
    """Every module of the packages, by its name."""
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path
        for pattern in SOURCES
        for source in ROOT.glob(pattern)
        for path in source.glob("sie_*/**/*.py")
    }


def imported(tree: ast.AST) -> Iterator[str]:
    """The names that a module imports, and those of what it imports from them."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (each.name for each in names)
            case ast.ImportFrom(str(module), names):
                yield module
                yield from (f"{module}.{each.name}" for each in names)
            case ast.Call(ast.Attribute(attr="import_module"), [ast.Constant(str(name)), *_]):
                yield name


def needed(found: dict[str, Path]) -> dict[str, set[str]]:
    """The modules that each needs."""
    return {
        name: {
            other
            for other in imported(ast.parse(path.read_text()))
            if other in found and other != name and not name.startswith(f"{other}.")
        }
        for name, path in found.items()
    }


def test_no_module_needs_one_that_needs_it() -> None:
    needs = needed(modules())
    assert len(needs) > 500
    TopologicalSorter(needs).prepare()


def test_a_circle_is_found() -> None:
    one, two = ast.parse("from a import two"), ast.parse("import_module = x.import_module('a.one')")
    needs = {"a.one": set(imported(one)) & {"a.two"}, "a.two": set(imported(two)) & {"a.one"}}
    with pytest.raises(CycleError):
        TopologicalSorter(needs).prepare()
