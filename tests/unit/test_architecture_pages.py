"""The architecture and the concepts: what they name is there, and every room has its line."""

import ast
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs/architecture.md"
PAGES = [ARCHITECTURE, *sorted((ROOT / "docs/concepts").glob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [
    ROOT / each for each in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
]
NAMES = sorted(
    {name for page in PAGES for name in re.findall(r"`(sie_[a-z_.]+)`", page.read_text())}
)


def rooms() -> dict[str, str]:
    """The first line that each room says of itself, by its name."""
    return {
        f"{package.name}.{path.parent.name}": told.splitlines()[0]
        for package in PACKAGES
        for path in package.glob("*/__init__.py")
        if (told := ast.get_docstring(ast.parse(path.read_text())))
    }


def test_every_room_has_its_line():
    rows = re.findall(r"^\| `(sie_\w+\.\w+)` \| (.+) \|$", ARCHITECTURE.read_text(), re.MULTILINE)

    assert len(rows) > 40
    assert dict(rows) == rooms()


def test_rooms_stand_in_the_order_of_their_layers():
    named = re.findall(r"^\| `(sie_\w+)\.(\w+)` \|", ARCHITECTURE.read_text(), re.MULTILINE)

    for contract in PROJECT["tool"]["importlinter"]["contracts"]:
        for package in contract.get("containers", ()):
            shown = [room for name, room in named if name == package]
            assert shown == [room for room in contract["layers"] if room in shown]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_is_there(name):
    pkgutil.resolve_name(name)
