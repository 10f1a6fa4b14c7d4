"""The open descriptors of a process, read from the kernel while it lives on."""

import contextlib
from pathlib import Path

__all__ = ["open_files"]


def open_files(pid: int) -> list[str]:
    """The name of each open descriptor, as its link in `/proc` tells it.

    A descriptor that the process closes between the listing and the look is left out.
    """
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(each.readlink()))
    return found
