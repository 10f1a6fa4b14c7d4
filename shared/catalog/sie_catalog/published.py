"""Published models: the facts of each, as the file of this package lists them.

*shell* over one file of the installed package. Promises one row for each id, in order of ids. A
fact is what its authors or their users published of a model; what a model's own files say wins.
"""

import importlib.resources
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

__all__ = ["Operation", "Published", "published"]

Operation: TypeAlias = Literal["encode", "score", "extract"]

_FILE: Final = "published.jsonl"


class Published(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published model."""

    id: str
    """The name that users know."""
    hub: str = ""
    """The repository, where it is another than the id."""
    commit: str = ""
    """Absent where none is known: such a model is not offered, and `sie add` finds its commit."""
    family: str
    """Its layout and architecture; `families` says what runs it."""
    inputs: tuple[str, ...] = ("text",)
    tasks: tuple[Operation, ...]
    outputs: dict[str, int] = {}
    """Each output of `encode`, and the numbers in a vector of it."""
    tokens: int | None = None
    """The longest text."""
    dtype: Literal["fp32", "bf16", "fp16"] | None = None
    """The number type that its users compute in on a GPU."""
    pooling: str = ""
    normalize: bool | None = None
    query: str = ""
    """The template of a query; empty where a query is the bare text."""
    document: str = ""
    instruction: str = ""
    """The instruction of a query that gives none."""
    threshold: float | None = None
    """The least score of what is told, where its users take another than the library's."""
    adapters: tuple[str, ...] = ()
    """Repositories of LoRA adapters that others published for it."""
    small: bool = False
    """Among the few of `--catalog small`."""

    @property
    def repository(self) -> str:
        """Its repository on the hub."""
        return self.hub or self.id


@lru_cache(maxsize=1)
def published() -> tuple[Published, ...]:
    """Every published model that this release knows."""
    text = (importlib.resources.files("sie_catalog") / _FILE).read_bytes()
    return tuple(msgspec.json.decode(line, type=Published) for line in text.splitlines())
