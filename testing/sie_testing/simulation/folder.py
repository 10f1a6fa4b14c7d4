"""A folder in memory, for what a replica keeps on its disk.

*shell.* Has the part of `pathlib.Path` that `sie_runtime.follower.replica_files` uses. What was
written survives the process. A world may tear the end of a file or wipe the folder, since nothing
of it is ever synced.
"""

import random
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, cast

__all__ = ["Folder"]


class Folder:
    """Files by name. Owner: the simulated world; it outlives the processes."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}

    def path(self) -> Path:
        """The folder as the code under test sees it."""
        return cast(Path, _MemoryPath(self, ""))

    def tear(self, rng: random.Random) -> None:
        """Cut one file short, as a power cut may."""
        names = sorted(name for name, data in self.files.items() if data)
        if names:
            data = self.files[rng.choice(names)]
            del data[rng.randrange(len(data)) :]

    def flip_bit(self, rng: random.Random) -> None:
        """Change one bit of one file."""
        names = sorted(name for name, data in self.files.items() if data)
        if names:
            data = self.files[rng.choice(names)]
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)

    def wipe(self) -> None:
        """Lose everything."""
        self.files.clear()


class _MemoryPath:
    """One name in a folder."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self.name: Final = name

    def __truediv__(self, name: str) -> "_MemoryPath":
        return _MemoryPath(self._folder, name)

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """It is there already."""

    def glob(self, pattern: str) -> Iterator["_MemoryPath"]:
        for name in list(self._folder.files):
            if fnmatchcase(name, pattern):
                yield self / name

    def with_suffix(self, suffix: str) -> "_MemoryPath":
        return self / (self.stem + suffix)

    def read_bytes(self) -> bytes:
        try:
            return bytes(self._folder.files[self.name])
        except KeyError as error:
            raise FileNotFoundError(self.name) from error

    def write_bytes(self, data: bytes) -> int:
        self._folder.files[self.name] = bytearray(data)
        return len(data)

    def replace(self, target: "_MemoryPath") -> None:
        self._folder.files[target.name] = self._folder.files.pop(self.name)

    def unlink(self, *, missing_ok: bool = False) -> None:
        if self._folder.files.pop(self.name, None) is None and not missing_ok:
            raise FileNotFoundError(self.name)

    def open(self, mode: str) -> "_MemoryFile":
        if mode == "wb" or self.name not in self._folder.files:
            self._folder.files[self.name] = bytearray()
        return _MemoryFile(self._folder.files[self.name])


class _MemoryFile:
    """A file open for writing at its end."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None:
        """It is written."""

    def close(self) -> None:
        """Nothing is held."""
