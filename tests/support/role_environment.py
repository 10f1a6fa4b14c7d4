"""An empty environment with one extra of the distribution in it, as an image is made."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["install_role"]

_ROOT = Path(__file__).resolve().parents[2]


def install_role(folder: Path, wheel: Path, role: str) -> Path:
    """Make an environment with `wheel[role]` and nothing else; gives its folder of programs."""
    environment = folder / role
    _run(sys.executable, "-m", "venv", *(["--without-pip"] if _uv() else []), str(environment))
    python = environment / "bin/python"
    wanted = f"{wheel}[{role}]"
    if uv := _uv():
        # Where a CPU build of torch lies on this machine, it is the one to take (see ./sie).
        _run(uv, "pip", "install", "-q", "--python", str(python), *_links(), wanted)
    else:
        _run(str(python), "-m", "pip", "install", "-q", wanted)
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


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
