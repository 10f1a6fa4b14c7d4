"""The tensors of transformers' families that are not declared by hand, by their names alone.

*pure* over a file of the wheel, which a program makes of the library that is tested. It has what a
family asks for by the switches of its config. Shapes are left to the loader.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from sie_layouts.architectures.tensors.families import Family

__all__ = ["TABLE", "Entry", "library_family"]

TABLE: Final = Path(__file__).with_name("library.json")
"""One line for each family: null of one whose names follow from more than a count of layers."""


class Entry(NamedTuple):
    """One family as the file has it."""

    prefix: str
    """The beginning of a name inside a model with a head, without its dot."""
    counted_by: str
    """The key of config.json that counts the layers. Where it is absent, no layer is asked for."""
    layers: str
    """The name before a layer's number; "" where several lists have it, as `#` in each name."""
    once: list[str]
    """Names, each behind the switches of config.json that it goes with: `?key name`."""
    each: list[str]
    """Of one layer."""
    heads: Mapping[str, list[str]]


def library_family(kind: str) -> Family | None:
    """The family of a `model_type`; None of one that the file does not tell."""
    return _families().get(kind)


@cache
def _families() -> Mapping[str, Family]:
    table = json.loads(TABLE.read_text())
    return {kind: _family(Entry(*entry)) for kind, entry in table.items() if entry is not None}


def _family(entry: Entry) -> Family:
    return Family(
        (f"{entry.prefix}.",),
        _named(entry.once),
        f"{entry.layers}.*" if entry.layers else "",
        _named(entry.each),
        {head: _named(names) for head, names in entry.heads.items()},  # type: ignore[misc]
        count=entry.counted_by,
    )


def _named(names: list[str]) -> str:
    return "\n".join(f"named{name if name.startswith('?') else f' {name}'}" for name in names)
