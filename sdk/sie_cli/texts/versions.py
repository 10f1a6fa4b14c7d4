"""The version of this installation, in one line.

*shell.* Reads what the installed package says of itself.
"""

import importlib.metadata
import platform
from typing import Final

__all__ = ["DISTRIBUTION", "version_line", "versions"]

DISTRIBUTION: Final = "sie-cluster"


def versions() -> dict[str, str]:
    """The release, and what it runs on."""
    try:
        release = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        release = "unknown"
    return {"sie": release, "python": platform.python_version(), "system": platform.system()}


def version_line() -> str:
    """The same, for a person."""
    found = versions()
    return f"sie {found['sie']} (Python {found['python']}, {found['system']})"
