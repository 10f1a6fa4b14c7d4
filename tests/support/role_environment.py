"""An empty environment with a role of the distribution in it, as its image is made: by its lock."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.locked import LOCKS

__all__ = ["install_role"]

_ROOT = Path(__file__).resolve().parents[2]


def install_role(folder: Path, wheel: Path, role: str) -> Path:
    """Make an environment as an image of this role is made; gives its folder of programs."""
    environment = folder / role
    _run(sys.executable, "-m", "venv", *(["--without-pip"] if _uv() else []), str(environment))
    python = environment / "bin/python"
    install = (
        [uv, "pip", "install", "-q", "--python", str(python)]
        if (uv := _uv())
        else [str(python), "-m", "pip", "install", "-q"]
    )
    links = _links() if uv else []
    locked = [*install, *links, "--require-hashes", "-r", _lock(role)]
    if role != "server":
        _run(*locked)
    elif not _works(*locked, "-r", _lock("torch-cpu")):
        # A CPU build of torch is taken where there is one (see ./sie).
        _run(*locked, "-r", _lock("torch-cuda"))
    _run(*install, "--no-index", f"{wheel}[{','.join(LOCKS[role])}]")
    return environment / "bin"


def _uv() -> str | None:
    """The installer that ./sie used, if it used this one."""
    return shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")


def _links() -> list[str]:
    """pip's settings of where packages come from, which uv does not read."""
    options = []
    for setting, flag in (("find-links", "--find-links"), ("index-url", "--default-index")):
        variable = "PIP_" + setting.upper().replace("-", "_")
        found = os.environ.get(variable) or _pip_setting(setting)
        options += [part for place in found.split() for part in (flag, place)]
    return options


def _pip_setting(name: str) -> str:
    command = (sys.executable, "-m", "pip", "config", "get", f"global.{name}")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _lock(name: str) -> str:
    return str(_ROOT / "locks" / f"{name}.txt")


def _works(*command: str) -> bool:
    return subprocess.run(command, cwd=_ROOT, capture_output=True, check=False).returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
