"""Environments of bundles: packages that the cluster's own bounds keep out, laid over its own.

*shell.* A folder beside the interpreter's for each bundle and each state of its lock. Promises that
it is made once, whole or not at all, of files whose digests are in the lock. Nothing is fetched
where it is there. A process in it finds the bundle's packages first, and below them all that the
cluster has.
"""

import hashlib
import importlib.util
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sie_catalog.bundles import APART
from sie_schemas.errors import FixRequest

__all__ = [
    "BundleEnvironment",
    "environment_of",
    "execution_programs",
    "lock_of",
    "make_environment",
]

_LOCKS: Final = Path(__file__).parents[1] / "bundles"
_LINES_SHOWN: Final = 3
"""The cause is in pip's last lines."""
_DIGITS: Final = 12
"""48 bits of a hash: a machine has a handful of environments."""


@dataclass(frozen=True, slots=True)
class BundleEnvironment:
    """The place of one environment; it need not be there yet."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """The folder of the packages that it alone has."""
        base = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", "venv", base))


def lock_of(bundle: str) -> Path:
    """The requirements of a bundle, with the digest of each file."""
    return _LOCKS / f"{bundle}.txt"


def environment_of(bundle: str) -> BundleEnvironment:
    """The environment of a bundle for this interpreter, its packages and the lock as it is."""
    told = (lock_of(bundle).read_bytes(), sys.version.encode(), *map(str.encode, _below()))
    name = f"{bundle}-{hashlib.sha256(b'|'.join(told)).hexdigest()[:_DIGITS]}"
    return BundleEnvironment(Path(sys.prefix) / "bundles" / name)


def make_environment(bundle: str, *, say: Callable[[str], None]) -> BundleEnvironment:
    """Make the environment of a bundle where there is none. Raises `FixRequest`, with the cure."""
    found = environment_of(bundle)
    if found.folder.is_dir():
        return found
    say(f"making the environment of bundle {bundle} in {found.folder} (once)")
    making = BundleEnvironment(found.folder.with_name(f"{found.folder.name}.{os.getpid()}"))
    try:
        venv.create(making.folder, symlinks=True)
        _lay_over(making)
        _install(bundle, making.packages)
        _move(making.folder, found.folder)
    except OSError as error:
        raise FixRequest(
            f"the environment of bundle {bundle} cannot be made in {found.folder.parent} "
            f"({error.strerror}): run the cluster from an environment that you may write to"
        ) from error
    finally:
        shutil.rmtree(making.folder, ignore_errors=True)
    return found


def execution_programs(
    bundles: Iterable[str], *, say: Callable[[str], None]
) -> dict[str, tuple[str, ...]]:
    """The command of model execution, by bundle that has an environment of its own: made here.

    Raises `FixRequest`, with the cure.
    """
    return {
        name: (str(make_environment(name, say=say).python), "-m", "sie_server.main")
        for name in bundles
        if name in APART
    }


def _below() -> list[str]:
    """The folders of the packages that this process has."""
    own = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [*site.getsitepackages(), *own]


def _lay_over(made: BundleEnvironment) -> None:
    # `addsitedir` and not the bare path: a checkout is installed by a file that only this reads.
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in _below()]
    (made.packages / "_below.pth").write_text("".join(lines))


def _install(bundle: str, target: Path) -> None:
    """Exactly the lock: the rest is the cluster's, in versions that the bundle's tests run on."""
    arguments = ["--no-deps", "--require-hashes", "--target", str(target)]
    done = subprocess.run(
        [*_installer(), *arguments, "-r", str(lock_of(bundle))],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(f"    {line}" for line in done.stderr.splitlines()[-_LINES_SHOWN:])
        raise FixRequest(
            f"the packages of bundle {bundle} cannot be installed: let this machine reach a "
            f"package index, or set PIP_FIND_LINKS to a folder that has them:\n{last}"
        )


def _installer() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    uv = shutil.which("uv")
    if uv is None:
        raise FixRequest(f"neither pip nor uv is here: {sys.executable} -m ensurepip", field="pip")
    return [uv, "pip", "install", "-q", "--python", sys.executable]


def _move(made: Path, wanted: Path) -> None:
    """Give it its name, unless another process was first. Nothing in it holds its own path."""
    try:
        made.rename(wanted)
    except OSError:
        if not wanted.is_dir():
            raise
