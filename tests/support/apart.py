"""Libraries that are installed apart: their bounds do not fit those of the rest.

*shell.* Each is one file of which the digest is known, without what it asks for: that is here
already, in releases that its tests show to do. It lies beside the environment, and is got once.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

__all__ = ["apart", "forgotten"]

_KEPT: Final = Path(sys.prefix) / "apart"
_WHEELS: Final = {
    "gliclass": (
        "gliclass==0.1.21",
        "dd34c2a6d74210b7c1f3197bbc0e0fe3021d6bccd0c38d7a881303d05f582247",
    ),
    "gliner": (
        "gliner==0.2.29",
        "0c8cfb9f5c2daf7aff329ebb5ab1609052d7ad0aca0ef26049b9476b018b3fde",
    ),
}
"""By module, the requirement and the SHA-256 of its wheel."""


def apart(name: str) -> ModuleType:
    """The library. Where it cannot be had the test is skipped, and fails under CI=true."""
    folder = _KEPT / name
    if not folder.is_dir():
        try:
            _install(folder, *_WHEELS[name])
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"missing library: {name}: {error}", pytrace=False)
            pytest.skip(f"missing library: {name}")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    return importlib.import_module(name)


@contextmanager
def forgotten(name: str) -> Iterator[None]:
    """After it the library is not there any more: other tests count what there is."""
    try:
        yield
    finally:
        folder = str(_KEPT / name)
        sys.path[:] = [each for each in sys.path if each != folder]
        for module in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[module]


def _install(folder: Path, requirement: str, digest: str) -> None:
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    making.mkdir(parents=True)
    wanted = making / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{digest}\n")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    options = ["--no-deps", "--require-hashes", "--target", str(making), "-r", str(wanted)]
    subprocess.run([*pip, *options], check=True, capture_output=True)
    if not folder.is_dir():
        making.rename(folder)
