"""The hashes by which files are pinned: SHA-256, and git's own for the small files of a hub.

*shell* over files.
"""

import hashlib
from pathlib import Path

__all__ = ["is_blob", "sha256"]

_BLOCK_BYTES = 1024 * 1024


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_blob(blob: Path) -> bool:
    """Whether a file of the hub's cache has the bytes that its name states."""
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
