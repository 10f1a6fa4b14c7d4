"""The modes of the files beside the log: for sie-config's own user, and for nobody else.

*shell.* What this process makes is private by its umask; this mends what an older release left.
Changes modes by name and opens nothing: to open and close the log's file drops SQLite's locks.
"""

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["close_to_others"]

_OTHERS: Final = 0o077
"""The bits of group and others."""
_FILES: Final = ("log.sqlite*", "lookup.sqlite*", "refused.sqlite*")


def close_to_others(folder: Path) -> None:
    """Take every right of others from sie-config's files in a folder, where they are its user's."""
    for pattern in _FILES:
        for path in folder.glob(pattern):
            # A disk that takes no change, or a file that has just gone: the start will tell.
            with contextlib.suppress(OSError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_mode & _OTHERS:
                    os.chmod(path, stat.S_IMODE(found.st_mode) & ~_OTHERS)
