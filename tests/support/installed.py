"""The distribution in an environment of its own, as a user installs it: the base, no extras."""

import subprocess
import sys
from pathlib import Path

__all__ = ["base_installation", "built_wheel"]

ROOT = Path(__file__).parents[2]
_PIP = ("-m", "pip", "--disable-pip-version-check", "-q")


def base_installation(folder: Path) -> Path:
    """The interpreter of a new environment in `folder`. Blocking, for some seconds."""
    _run([sys.executable, "-m", "venv", str(folder / "environment")])
    python = folder / "environment/bin/python"
    _run([str(python), *_PIP, "install", str(built_wheel(folder))])
    return python


def built_wheel(folder: Path) -> Path:
    """The wheel of this checkout, made in `folder`. Blocking, for some seconds."""
    wheels = folder / "wheels"
    # The build backend is in our own environment: nothing is fetched for it.
    built = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT)]
    _run([sys.executable, *_PIP, *built])
    [made] = wheels.glob("*.whl")
    return made


def _run(command: list[str]) -> None:
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"
