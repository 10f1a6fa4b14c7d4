"""The manifest of a folder: the SHA-256 of each file that a worker reads, by its name.

*shell* over the files of one folder. A person who waits sees how far it is, on stderr.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sie_cli.show.printing import talk
from sie_cli.show.progress import progress
from sie_core.counted import counted
from sie_schemas.errors import FixRequest

__all__ = ["manifest_of"]

_PIECE_BYTES: Final = 4 * 1024**2
"""Bytes hashed at a time; a bar moves with each."""
_TOLD_FROM_BYTES: Final = 256 * 1024**2
"""Below it nobody waits long enough to ask."""


def manifest_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Hash the files. Raises `FixRequest` for one that does not read."""
    try:
        total = sum((folder / name).stat().st_size for name in names)
        return _hashed(folder, names, total)
    except OSError as error:
        raise FixRequest(f"{error.filename}: {error.strerror}: let this user read it") from error


def _hashed(folder: Path, names: Sequence[str], total: int) -> dict[str, str]:
    if total >= _TOLD_FROM_BYTES and not sys.stderr.isatty():
        talk(f"hashing {counted(len(names), 'file')} of {total / 1e9:.1f} GB")
    found: dict[str, str] = {}
    done = 0
    with progress("hashing", "bytes") as told:
        for name in names:
            digest = hashlib.sha256()
            with (folder / name).open("rb") as stream:
                while piece := stream.read(_PIECE_BYTES):
                    digest.update(piece)
                    done += len(piece)
                    told(done, total, f"hashing {name}")
            found[name] = digest.hexdigest()
    return found
