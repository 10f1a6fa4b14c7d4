"""Files of a model: all that a layout is read from.

*types.* A folder on this disk (`folder`), or a repository of which only the small files are
fetched, offers the same two calls.
"""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["Files"]


class Files(Protocol):
    """The files of one revision of a model."""

    def names(self) -> Mapping[str, int]:
        """The bytes of each file by its name inside the folder, with `/` between folders."""
        ...

    def read(self, name: str) -> bytes | None:
        """A file's content; None where it is not there, or cannot be read."""
        ...
