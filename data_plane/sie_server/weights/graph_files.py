"""Files beside an ONNX graph, in which it keeps its tensors: their names, as the graph has them.

*shell* over one file, which is read and never run. A graph may name them anyhow, and ONNX Runtime
opens them by itself.
"""

import mmap
import posixpath
import re
from collections.abc import Set
from pathlib import Path
from typing import Final

from sie_server.failures import load_failed

__all__ = ["absent_beside", "files_beside"]

_LOCATION: Final = re.compile(rb"\x0a\x08location\x12(.)", re.DOTALL)
"""A pair of protobuf: the key `location`, and the length of its value."""
_LONG: Final = 128
"""A value of so many bytes has its length in two."""


def files_beside(path: Path) -> tuple[str, ...]:
    """The files that a graph names as those of its tensors, sorted; relative to its own folder.

    Raises MODEL_LOAD_FAILED for a name that we do not read: ONNX Runtime would open that file.
    """
    names, all_read = _named(path)
    if not all_read:
        raise load_failed(
            f"{path} names a file of its tensors in {_LONG} bytes or more, or not in ASCII: give "
            "it a short name"
        )
    return names


def absent_beside(folder: Path, names: Set[str]) -> tuple[str, ...]:
    """The files of a repository (`names`) that a graph in `folder` needs, and that are not there.

    A name that is not read is the load's to refuse: the graph may be one that nobody asked for.
    """
    absent = {name for name in names if not (folder / name).is_file()}
    found: set[str] = set()
    for path in folder.rglob("*.onnx"):
        home = path.parent.relative_to(folder).as_posix()
        # A graph with its tensors inside is long, and most have nothing beside them.
        if any(home == "." or name.startswith(f"{home}/") for name in absent):
            found |= {posixpath.normpath(f"{home}/{name}") for name in _named(path)[0]}
    return tuple(sorted(found & absent))


def _named(path: Path) -> tuple[tuple[str, ...], bool]:
    """The names that are read, and True if these are all."""
    if not path.stat().st_size:
        return (), True
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        places = {match.start(1) for match in _LOCATION.finditer(content)}
        short = [at for at in places if content[at] < _LONG]
        names = {content[at + 1 : at + 1 + content[at]] for at in short}
    plain = sorted(name.decode() for name in names if name and name.isascii())
    return tuple(plain), len(short) == len(places) and all(name.isascii() for name in names)
