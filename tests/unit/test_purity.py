"""A module's word on itself in its docstring is true: read from there, not from a list.

`*pure.*` reaches no clock, loop, thread, device, file, network or broker; time and randomness are
arguments. `*device.*` computes on tensors. `*types.*` says what is said. `*shell.*` does the rest,
and `*main.*` wires it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("shared/*", "testing", "control_plane", "data_plane", "sdk")
KINDS = {"pure", "device", "types", "shell", "main"}
IMPURE = {
    *("asyncio", "httpx", "nats", "os", "pydantic", "secrets", "select", "selectors", "shutil"),
    *("signal", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time"),
    *("torch", "uuid", "uvloop"),
}
"""Packages that reach what is outside: none is imported in a pure module, nor in its functions.
FastAPI and uvicorn are not among them where a module takes a type or a constant from them."""
OUTSIDE = {
    "datetime": {"now", "today", "utcnow"},
    "random": {"SystemRandom", "choice", "random", "randint", "randrange", "seed", "shuffle"},
}
"""The part of a package, else harmless, that asks the machine."""


def modules() -> list[Path]:
    return sorted(
        path
        for room in ROOMS
        for package in ROOT.glob(f"{room}/sie_*")
        for path in package.rglob("*.py")
        if path.name != "__init__.py"
    )


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def asked(tree: ast.Module) -> Iterator[str]:
    """`random.random`, `datetime.now`: the clock and chance of the machine."""
    # A generator that is given may bear the name of the package; then that is not imported.
    whole = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            package = node.value.id
            is_package = package in whole or package == "datetime"
            if is_package and node.attr in OUTSIDE.get(package, set()):
                yield f"{package}.{node.attr}"


def kinds(tree: ast.Module) -> list[str]:
    return re.findall(r"\*([a-z]+)[.,]?\*", ast.get_docstring(tree) or "")


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.stem)
def test_a_module_is_of_the_kind_that_it_says(path):
    tree = ast.parse(path.read_text())
    said = [kind for kind in kinds(tree) if kind in KINDS]
    assert len(said) == 1, f"its docstring says {said} of {sorted(KINDS)}"
    kind = said[0]
    used = set(imported(tree))
    if kind == "pure":
        assert not used & IMPURE
        assert not list(asked(tree))
    assert ("torch" in used) == (kind == "device"), "what touches torch says device"


def test_the_pure_part_is_there():
    pure = [path for path in modules() if "pure" in kinds(ast.parse(path.read_text()))]
    assert len(pure) > 100
    parts = {part for path in pure for part in path.parts}
    assert parts >= {"sie_core", "sie_config", "sie_gateway", "sie_worker", "sie_runtime"}
