"""The hashes by which files are pinned: SHA-256, and git's own for the small files of a hub.

*shell* over files.
"""

import errno
import hashlib
import stat
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

__all__ = ["Stamp", "is_blob", "sha256", "sha256_as_of", "stamp_of"]

Stamp: TypeAlias = tuple[int, ...]
"""A value that changes when a file is written or replaced, or the link that leads to it."""


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises `OSError`, also for what is no plain file."""
    if not stat.S_ISREG(path.stat().st_mode):
        # A config names it: a pipe would be waited for, a device may never end.
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_as_of(path: Path) -> str:
    """The same, remembered for as long as nothing wrote to the file. Raises `OSError`.

    A write, or a file put in its place, moves the inode's change time, which no program can set.
    """
    return _remembered(path, stamp_of(path))


def stamp_of(path: Path, within: Path | None = None) -> Stamp:
    """The stamp of a file: device, inode, size in bytes, change time in ns.

    Two more, inode and change time, are of its name in the folder, which may be a link. So are two
    of each link to a folder between it and `within`. Raises `OSError`.
    """
    found = path.stat()
    own = found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
    # A link may lead to another file for a while, and then to the first again.
    names = [path]
    if within is not None:
        inner = (each for each in path.parents if each != within and each.is_relative_to(within))
        names += [each for each in inner if each.is_symlink()]
    named = [each.lstat() for each in names]
    return (*own, *(number for each in named for number in (each.st_ino, each.st_ctime_ns)))


@lru_cache(maxsize=4096)
def _remembered(path: Path, _stamp: Stamp) -> str:
    return sha256(path)


def is_blob(blob: Path) -> bool:
    """True if a file of the hub's cache has the bytes that its name states."""
    match len(blob.name):
        case 64:
            return sha256(blob) == blob.name
        case 40:
            digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
            digest.update(blob.read_bytes())
            return digest.hexdigest() == blob.name
        case _:
            # A mirror may state another kind of tag, which says nothing of the bytes.
            return True
