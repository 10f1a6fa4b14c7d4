"""Texts on this machine: one file, a folder and all below it, or stdin.

*shell.* Promises that a folder is read whole or not at all. Links are followed, a name counts in
any case, and what is reached twice is read once. Whatever cannot be looked at is an error that
names it, since nobody can say what it holds. Reads no more bytes than are allowed, and waits for
nobody: a pipe in a folder is an error too. A mounted ConfigMap is read by the names that it has, as
one version. It understands no text.
"""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sie_runtime.texts.bounds import BOUNDS, Bounds
from sie_schemas.errors import FixRequest, Later

__all__ = ["STDIN", "SUFFIXES", "Texts", "read_texts"]

SUFFIXES: Final = (".json", ".yaml", ".yml")
"""Of the names that are read in a folder, in any case of letters."""
STDIN: Final = "stdin"
_ENTRIES_MAX: Final = 100_000
"""Somebody gave a home folder, not a folder of documents."""
_VERSION: Final = "..data"
"""The link by which kubelet moves a mounted ConfigMap from one version to the next at once."""
_HIDDEN: Final = ".."
"""Beside it, names that begin so are its versions."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts that were read."""

    by_place: dict[str, str]
    """Text by where it stood."""
    left_out: tuple[str, ...] = ()
    """Files of a folder that have none of the suffixes."""


def read_texts(source: str, bounds: Bounds = BOUNDS) -> Texts:
    """Every text of a file, of a folder, or of stdin (`-`). Raises `FixRequest`."""
    if source == "-":
        return Texts({STDIN: _Budget(bounds).text_of(sys.stdin.buffer, STDIN)})
    try:
        if os.path.isdir(source):
            return _folder(Path(source), _Budget(bounds))
        with open(source, "rb") as file:
            return Texts({source: _Budget(bounds).text_of(file, source)})
    except (OSError, ValueError) as error:
        raise _unreadable(source, error) from error


class _Budget:
    """The bytes that may still be read."""

    def __init__(self, bounds: Bounds) -> None:
        self._bytes_max = bounds.bytes_max
        self._left = bounds.bytes_max

    def text_of(self, file: IO[bytes], place: str) -> str:
        data = file.read(self._left + 1)
        if len(data) > self._left:
            raise FixRequest(
                f"{place} is too large: one command reads at most {self._bytes_max} bytes",
                code="PAYLOAD_TOO_LARGE",
            )
        self._left -= len(data)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise _unreadable(place, error) from error


def _folder(folder: Path, budget: _Budget) -> Texts:
    found: dict[str, str] = {}
    left_out: list[str] = []
    read: set[tuple[int, int]] = set()
    versions: dict[str, str] = {}
    for place in _files(folder, versions):
        if not place.lower().endswith(SUFFIXES):
            left_out.append(place)
            continue
        try:
            # Nobody waits here for a pipe's other end.
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise FixRequest(f"{place} is no file: what it holds cannot be known")
                if _identity(status) not in read:
                    read.add(_identity(status))
                    found[place] = budget.text_of(file, place)
        except OSError as error:
            raise _unreadable(place, error) from error
        if place in found and not found[place].strip():
            raise FixRequest(f"{place} is empty, as while it is written: finish or remove it")
    if any(_version(link) != version for link, version in versions.items()):
        raise Later(f"{folder} was replaced while it was read: try again", code="NOT_READY")
    return Texts(found, tuple(left_out))


def _files(folder: Path, versions: dict[str, str]) -> Iterator[str]:
    """Every path that is no folder, in and below a folder and the links in it, each folder once.

    `versions` gets where each mounted ConfigMap stands at the beginning.
    """
    seen = {_identity(os.stat(folder))}
    pending = [str(folder)]
    count = 0
    while pending:
        below: list[str] = []
        for name in sorted(_names(pending.pop(), versions)):
            count += 1
            if count > _ENTRIES_MAX:
                raise FixRequest(
                    f"{folder} holds more than {_ENTRIES_MAX} files: give the folder of documents"
                )
            status = _status(name)
            if not stat.S_ISDIR(status.st_mode):
                yield name
            elif _identity(status) not in seen:
                seen.add(_identity(status))
                below.append(name)
        pending += reversed(below)


def _names(folder: str, versions: dict[str, str]) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.path for entry in entries}
    except OSError as error:
        raise _unreadable(folder, error) from error
    link = found.get(_VERSION)
    if link is None or not os.path.islink(link):
        return list(found.values())
    versions[link] = _version(link)
    return [path for name, path in found.items() if not name.startswith(_HIDDEN)]


def _version(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError as error:
        raise _unreadable(link, error) from error


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _unreadable(place: str, error: Exception) -> FixRequest:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return FixRequest(f"{place} cannot be read ({why}): nothing is applied or compared without it")
