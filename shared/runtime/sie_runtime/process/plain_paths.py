"""Paths as they are spelled.

*pure.* Looks at no disk, and so tells nothing of one. Whether there is such a file, or where a link
leads, is for whoever opens it.
"""

import posixpath
from collections.abc import Sequence

__all__ = ["is_below", "is_plain_path"]


def is_plain_path(path: str) -> bool:
    """True if a path is absolute, in the one way to spell it, and not the root."""
    if not path.startswith("/") or path.startswith("//") or "\0" in path:
        return False
    return path != "/" and posixpath.normpath(path) == path


def is_below(path: str, folders: Sequence[str]) -> bool:
    """True if a path is spelled plainly, as one of these folders or something below it."""
    return is_plain_path(path) and any(
        path == folder or path.startswith(f"{folder}/") for folder in folders
    )
