"""A model's files in a folder of this disk.

*shell* over one folder. It only reads, and never outside the folder.
"""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["FolderFiles"]


class FolderFiles:
    """The files under one folder, as `sie_layouts.facts.Files`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> Mapping[str, int]:
        """The bytes of each file; of a file that leaves meanwhile, nothing."""
        found: dict[str, int] = {}
        for path in self._folder.rglob("*"):
            try:
                if path.is_file():
                    found[path.relative_to(self._folder).as_posix()] = path.stat().st_size
            except OSError:
                continue
        return found

    def read(self, name: str) -> bytes | None:
        """A file's content; None where it is not there, or lies outside the folder."""
        return self.head(name, -1)

    def head(self, name: str, count: int) -> bytes | None:
        """The first `count` bytes of a file, all of them for -1; None as of `read`."""
        if name.startswith("/") or ".." in name.split("/"):
            return None
        path = self._folder / name
        try:
            # Of a pipe the reading would not begin, of a device not end.
            if not path.is_file():
                return None
            with path.open("rb") as opened:
                return opened.read(count)
        except OSError:
            return None
