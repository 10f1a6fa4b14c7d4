"""The distribution, as pip makes it: every package is importable from an empty folder."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sie_catalog.bundles import APART

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "sie_catalog",
    "sie_cli",
    "sie_config",
    "sie_core",
    "sie_layouts",
    "sie_gateway",
    "sie_runtime",
    "sie_schemas",
    "sie_sdk",
    "sie_server",
    "sie_testing",
    "sie_worker",
)
LOCATE = (
    "import importlib, pathlib\n"
    f"for name in {PACKAGES!r}:\n"
    "    module = importlib.import_module(name)\n"
    "    print(name, pathlib.Path(module.__file__ or list(module.__path__)[0]))\n"
)


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def imported_from(folder: Path, *, path: Path | None) -> dict[str, Path]:
    """The place that each package comes from, for an interpreter that starts in an empty folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, "-c", LOCATE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        name: Path(place)
        for name, place in (line.split(" ", 1) for line in done.stdout.splitlines())
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The build backend is in the environment already: nothing is fetched.
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT))
    return next(folder.glob("sie_cluster-*.whl"))


@pytest.mark.integration
def test_a_wheel_brings_every_package_and_nothing_of_the_checkout(wheel, tmp_path):
    target, empty = tmp_path / "target", tmp_path / "empty"
    empty.mkdir()
    pip("install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    places = imported_from(empty, path=target)
    assert set(places) == set(PACKAGES)
    assert all(place.is_relative_to(target) for place in places.values()), places


@pytest.mark.integration
def test_an_editable_installation_brings_every_package_from_the_checkout(tmp_path):
    places = imported_from(tmp_path, path=None)
    assert set(places) == set(PACKAGES)
    assert all(place.is_relative_to(ROOT) for place in places.values()), places


@pytest.mark.integration
def test_a_wheel_holds_types_and_demo_data_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert {"sie_cli/demo_data/models.json", "sie_catalog/published.jsonl"} <= set(names)
    assert {f"sie_cli/bundles/{bundle}.txt" for bundle in APART} <= set(names)
    assert not [name for name in names if name.split("/")[-1].startswith("test_")]


@pytest.mark.integration
def test_hypothesis_is_wanted_by_extras_of_testing_and_imported_by_sie_testing_alone(wheel):
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        wanted = [
            line
            for line in opened.read(metadata).decode().splitlines()
            if line.startswith("Requires-Dist: hypothesis")
        ]
        importing = {
            name.split("/")[0]
            for name in names
            if name.endswith(".py") and _imports(opened.read(name).decode(), "hypothesis")
        }
    extras = {line.rpartition("extra == ")[2].strip("'") for line in wanted}
    assert extras == {"dev", "test", "testing"}, wanted
    assert importing == {"sie_testing"}


def _imports(source: str, package: str) -> bool:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return package in imported
