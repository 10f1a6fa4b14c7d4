"""Files, facts and refusals: a layout's files, what they say, and why one is not run.

*types.* Values, and the two calls by which files are read. They are those of a folder on this disk
(`folder`), or of a repository of which only the small files are fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["WORDS", "Fact", "Files", "Reading", "Refusal"]

L = TypeVar("L", covariant=True)

WORDS: Final = (".jinja", ".json", ".metadata", ".model", ".txt")
"""The endings of the files that say how a model runs. Workers fetch these of a hub, and a manifest
pins them: what a reader takes from another file would be there for `sie add` alone."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a file says: `name` is ours, `value` as a person reads it."""

    name: str
    value: str
    source: str
    """The file, and the key in it where there is one: `tokenizer_config.json: model_max_length`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason for which a folder is not run as its authors' library would run it."""

    source: str
    """The file and the key, as in `Fact`."""
    what: str
    """The thing that it says, and that is not done here."""
    cure: str
    """The way out; empty where there is none."""

    def __str__(self) -> str:
        return f"{self.source} {self.what}{'; ' + self.cure if self.cure else ''}"


@dataclass(frozen=True, slots=True)
class Reading(Generic[L]):
    """A layout, or else the refusals that stand in its way."""

    layout: L | None
    refusals: tuple[Refusal, ...] = ()


class Files(Protocol):
    """The files of one revision of a model."""

    def names(self) -> Mapping[str, int]:
        """The bytes of each file by its name inside the folder, with `/` between folders."""
        ...

    def read(self, name: str) -> bytes | None:
        """A file's content; None where it is not there, or cannot be read."""
        ...

    def head(self, name: str, count: int) -> bytes | None:
        """The first `count` bytes of a file, or all that it has; None as of `read`."""
        ...
