"""Facts and refusals: what a layout says, from which file, and why one is not run.

*types.* Values only.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Fact", "Reading", "Refusal"]

L = TypeVar("L", covariant=True)


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
