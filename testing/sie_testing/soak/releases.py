"""Releases: another release of this project as its own programs, from the history of a checkout.

*shell.* Makes a worktree with an environment of its own, as its README says, and removes it. An
older release is never imported: its programs are run.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["Release", "other_release", "this_release"]

_ECHOES: Final = ("sie_testing.processes.echo_execution", "sie_testing.echo_execution")
"""The places where releases keep the execution whose right answer anybody can work out."""
_USERS: Final = (
    "try: from sie_cli.plan.broker import authorization\n"
    "except ImportError: from sie_cli.broker import authorization\n"
    "print(authorization(lambda role: role))"
)
"""The places where releases keep what their roles may do at the broker."""


@dataclass(frozen=True, slots=True)
class Release:
    """The programs of one release. `name` is shown."""

    name: str
    scripts: Path
    echo: str

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.scripts / name)

    def execution(self, socket: Path) -> list[str]:
        """The command line of its echo."""
        return [self.program("python"), "-m", self.echo, str(socket)]

    def users(self) -> str:
        """The block of the broker's users as it wants them; the password of each is its role."""
        command = [self.program("python"), "-c", _USERS]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def this_release() -> Release:
    """The one that runs this."""
    return Release("this", Path(sys.executable).parent, _ECHOES[0])


@contextmanager
def other_release(named: str, *, root: Path) -> Iterator[Release]:
    """The release of a revision, of a folder that is installed, or where `named` is empty the last.

    Raises `FixRequest` where the history does not have it.
    """
    folder = Path(named).expanduser()
    if named and (folder / ".venv/bin/sie-config").exists():
        yield _release(folder.name, folder)
        return
    commit = _commit(named or _last_release(root), root)
    place = Path(tempfile.mkdtemp(prefix="sie-release-")) / commit[:12]
    _git(root, "worktree", "add", "--quiet", "--detach", str(place), commit)
    try:
        if not (place / "sie").exists():
            raise FixRequest(f"{commit[:12]} is no checkout of this project: it has no ./sie")
        made = subprocess.run(
            ["./sie", "--help"], cwd=place, capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise FixRequest(f"{commit[:12]} cannot be installed: {made.stderr.strip()[-500:]}")
        yield _release(commit[:12], place)
    finally:
        _git(root, "worktree", "remove", "--force", str(place))
        shutil.rmtree(place.parent, ignore_errors=True)


def _release(name: str, folder: Path) -> Release:
    scripts = folder / ".venv/bin"
    for echo in _ECHOES:
        look = f"import importlib.util as u, sys; sys.exit(u.find_spec({echo!r}) is None)"
        done = subprocess.run([scripts / "python", "-c", look], capture_output=True, check=False)
        if not done.returncode:
            return Release(name, scripts, echo)
    raise FixRequest(f"{name} has no echo execution: it is older than this walk can take")


def _last_release(root: Path) -> str:
    """The newest tag, else the newest commit that says it is a release."""
    tag = _git(root, "describe", "--tags", "--abbrev=0", check=False)
    found = tag or _git(root, "log", "-1", "--format=%H", "--grep=^Release [0-9]", check=False)
    if not found:
        raise FixRequest(f"the history has no release{_shallow(root)}")
    return found


def _commit(named: str, root: Path) -> str:
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}", check=False)
    if not found:
        raise FixRequest(f"the history has no {named!r}{_shallow(root)}")
    return found


def _shallow(root: Path) -> str:
    cure = "give --from FOLDER of a checkout that is installed"
    if _git(root, "rev-parse", "--is-shallow-repository", check=False) == "true":
        return f": this clone is shallow. `git fetch --unshallow` brings the rest, or {cure}"
    return f": {cure}"


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise FixRequest(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip() if not done.returncode else ""
