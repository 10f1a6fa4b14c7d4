"""The bootstrap script `./sie`, in checkouts of its own with a project that installs offline."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.live_cluster import eventually

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toy"
version = "1"
"""
TOY_MAIN = "def main(): import sys; print('toy', *sys.argv[1:])"
# A build backend of the project's own, so that no index is asked for one.
BACKEND = """\
import pathlib, zipfile

METADATA = "Metadata-Version: 2.1\\nName: toy\\nVersion: 1\\nProvides-Extra: dev\\n"
WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_editable(folder, config_settings=None, metadata_directory=None):
    if pathlib.Path("block").exists():
        pathlib.Path("blocked").write_text("")
        import time
        time.sleep(600)
    pathlib.Path("builds").open("a").write("x")
    info = "toy-1.dist-info/"
    with zipfile.ZipFile(pathlib.Path(folder) / "toy-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("toy.py", "def main(): import sys; print('toy', *sys.argv[1:])")
        wheel.writestr(info + "METADATA", METADATA)
        wheel.writestr(info + "WHEEL", WHEEL)
        wheel.writestr(info + "entry_points.txt", "[console_scripts]\\nsie = toy:main\\n")
        wheel.writestr(info + "RECORD", "")
    return "toy-1-py3-none-any.whl"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the real script and a project that needs nothing from an index."""
    folder = tmp_path / "check out"
    folder.mkdir()
    shutil.copy(ROOT / "sie", folder / "sie")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "backend.py").write_text(BACKEND)
    return folder


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    # No uv and no index: pip installs, from the folder alone.
    bare = {"PATH": "/usr/bin:/bin", "SIE_PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
    return {**bare, **(extra or {})}


def start(checkout: Path, *arguments: str, **extra: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [checkout / "sie", *arguments],
        env=environment(extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(checkout: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    process = start(checkout, *arguments, **extra)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def builds(checkout: Path) -> int:
    counted = checkout / "builds"
    return len(counted.read_text()) if counted.exists() else 0


def test_the_first_run_installs_and_hands_over_and_later_runs_only_hand_over(checkout):
    first = run(checkout, "up", "--port", "1 2")
    assert (first.returncode, first.stdout) == (0, "toy up --port 1 2\n"), first.stderr
    assert "installing into" in first.stderr
    second = run(checkout, "down")
    assert (second.stdout, second.stderr) == ("toy down\n", "")
    assert builds(checkout) == 1

    (checkout / "pyproject.toml").write_text(PROJECT + "# changed\n")
    assert run(checkout, "up").returncode == 0
    assert builds(checkout) == 2


def test_a_machine_that_writes_no_bytecode_compiles_the_libraries_once_all_the_same(checkout):
    code = "def main(): import sys; print(sys.dont_write_bytecode)"
    (checkout / "backend.py").write_text(BACKEND.replace(TOY_MAIN, code))

    assert run(checkout, "up", PYTHONDONTWRITEBYTECODE="1").stdout == "False\n"


def lock(checkout: Path, *, digest: str | None = None) -> None:
    """Locks that name one package, which lies in a folder, by its digest or by this one."""
    folder = checkout.parent / "wheels"  # a list by spaces: none is in this name
    folder.mkdir()
    wheel = folder / "leaf-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("leaf.py", "")
        archive.writestr(
            "leaf-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: leaf\nVersion: 1\n"
        )
        archive.writestr("leaf-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("leaf-1.dist-info/RECORD", "")
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    (checkout / "locks").mkdir()
    for name, text in (("dev", f"leaf==1 --hash=sha256:{digest}\n"), ("cpu", ""), ("cuda", "")):
        file = f"torch-{name}.txt" if name != "dev" else "dev.txt"
        (checkout / "locks" / file).write_text(text)


def test_what_is_locked_is_installed_and_a_changed_lock_installs_again(checkout):
    lock(checkout)
    wheels = {"PIP_FIND_LINKS": str(checkout.parent / "wheels")}
    assert run(checkout, "up", **wheels).stdout == "toy up\n"
    assert [*checkout.glob(".venv/lib/*/site-packages/leaf.py")]
    assert run(checkout, "up", **wheels).stderr == ""

    with (checkout / "locks/dev.txt").open("a") as text:
        text.write("# renewed\n")
    assert "installing into" in run(checkout, "up", **wheels).stderr
    assert builds(checkout) == 2


def test_a_package_with_another_digest_than_the_lock_names_is_not_installed(checkout):
    lock(checkout, digest="0" * 64)
    refused = run(checkout, "up", PIP_FIND_LINKS=str(checkout.parent / "wheels"))
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "the installation failed" in refused.stderr
    assert not [*checkout.glob(".venv/lib/*/site-packages/leaf.py")]
    assert builds(checkout) == 0


def test_a_lock_that_lacks_what_the_project_asks_for_is_said_with_its_cure(checkout):
    lock(checkout)
    metadata = "Provides-Extra: dev\\nRequires-Dist: twig; extra == 'dev'\\n"
    text = (checkout / "backend.py").read_text()
    (checkout / "backend.py").write_text(text.replace("Provides-Extra: dev\\n", metadata))
    refused = run(checkout, "up", PIP_FIND_LINKS=str(checkout.parent / "wheels"))
    assert refused.returncode == 1
    assert "pyproject.toml asks for what locks/ does not hold" in refused.stderr
    assert "locks/renew.py" in refused.stderr


def test_an_interrupted_installation_heals_itself(checkout):
    (checkout / "block").write_text("")
    interrupted = start(checkout, "up")
    eventually((checkout / "blocked").exists)
    os.killpg(interrupted.pid, signal.SIGKILL)
    interrupted.communicate()
    (checkout / "block").unlink()
    (checkout / ".venv/bin/python").unlink()

    healed = run(checkout, "up")
    assert healed.stdout == "toy up\n", healed.stderr


def test_two_at_once_install_once_and_both_succeed(checkout):
    both = [start(checkout, "one"), start(checkout, "two")]
    outputs = [process.communicate(timeout=60) for process in both]
    assert [output[0] for output in outputs] == ["toy one\n", "toy two\n"], outputs
    assert builds(checkout) == 1


def test_a_warm_start_costs_less_than_a_fifth_of_a_second(checkout):
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(sys.executable)
    (venv / "bin/sie").write_text("#!/bin/sh\nexit 0\n")
    (venv / "bin/sie").chmod(0o755)
    checksum = subprocess.run(
        "cksum < pyproject.toml",
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    (venv / ".sie-stamp").write_text(f"{checksum.stdout.strip()} {checkout}\n")

    def took_s() -> float:
        started = time.monotonic()
        assert run(checkout, "status").returncode == 0
        return time.monotonic() - started

    assert min(took_s() for _ in range(5)) < 0.2
    assert builds(checkout) == 0


def tools(folder: Path, *, python: str | None = None) -> str:
    """A PATH with what every system has, and a python3 that is this script."""
    folder.mkdir()
    for name in (
        "sh",
        "dirname",
        "cat",
        "cksum",
        "rm",
        "mkdir",
        "uname",
        "sed",
        "head",
        "tr",
        "mv",
    ):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    if python is not None:
        (folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (folder / "python3").chmod(0o755)
    return str(folder)


OLD = 'case "$*" in --version) echo Python 3.9.2;; *) exit 1;; esac'
WITHOUT_VENV = f'case "$*" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac'


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (None, "sie: Python is missing: install Python 3.11 or newer"),
        (OLD, "sie: Python 3.9.2 is too old: install Python 3.11 or newer"),
        (WITHOUT_VENV, "sie: Python's venv module is missing: install it"),
    ],
    ids=["no-python", "old-python", "no-venv"],
)
def test_what_is_missing_is_said_in_one_line_with_its_cure(checkout, tmp_path, python, said):
    refused = run(checkout, "up", PATH=tools(tmp_path / "tools", python=python), SIE_PYTHON="")
    *_, last = refused.stderr.splitlines()
    assert refused.returncode == 1
    assert last.startswith(said)
    assert "apt-get install" in last or "SIE_PYTHON" in last


@pytest.mark.tool("shellcheck")
@pytest.mark.parametrize("script", ["sie", ".ci/run"])
def test_scripts_have_no_finding(script):
    checked = subprocess.run(
        ["shellcheck", ROOT / script], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
