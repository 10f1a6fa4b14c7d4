"""A module is read at one sitting, and a room's doors are counted at a glance."""

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "shared/schemas/sie_schemas",
    "shared/core/sie_core",
    "shared/layouts/sie_layouts",
    "shared/catalog/sie_catalog",
    "shared/runtime/sie_runtime",
    "control_plane/sie_config",
    "data_plane/sie_gateway",
    "data_plane/sie_worker",
    "data_plane/sie_server",
    "sdk/sie_sdk",
    "sdk/sie_cli",
    "testing/sie_testing",
)
LINES_MAX = 400
DOORS_MAX = 16


def modules() -> Iterator[Path]:
    """Every module of the packages."""
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def rooms() -> dict[str, int]:
    """The doors of each room: modules and rooms inside, `__init__` left out."""
    found: dict[str, int] = {}
    for path in modules():
        room = path.parent
        doors = [each for each in room.iterdir() if each.suffix == ".py" or _is_room(each)]
        found[str(room.relative_to(ROOT))] = len(doors) - 1
    return found


def _is_room(path: Path) -> bool:
    return (path / "__init__.py").is_file()


def test_a_module_is_read_at_one_sitting():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}

    assert len(lines) > 300
    assert {name: count for name, count in lines.items() if count > LINES_MAX} == {}


def test_the_doors_of_a_room_are_counted_at_a_glance():
    found = rooms()

    assert {room: doors for room, doors in found.items() if doors > DOORS_MAX} == {}


@pytest.mark.parametrize("room", sorted(rooms()))
def test_every_room_says_what_it_is(room):
    text = (ROOT / room / "__init__.py").read_text()

    assert text.startswith('"""')
    assert len(text.splitlines()[0]) > 30
