"""The pickled weights that a worker converts, by the names of a repository's files.

*pure.* A worker and `sie add` go by the same rule. Nothing is opened here: what such a file holds
shows after a worker made safetensors of it, in a process apart.
"""

import fnmatch
from collections.abc import Iterable
from typing import Final

__all__ = ["made_name", "pickles_wanted"]

_PICKLES: Final = ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "adapter_model.bin")
_LISTS: Final = ("config.json", "router_config.json")
"""The file of a module's settings, and the one of a router's modules."""
_HEADS: Final = ("sparse_linear.pt", "colbert_linear.pt")
"""Single layers beside a model, as bge-m3 publishes them."""


def pickles_wanted(names: Iterable[str]) -> tuple[str, ...]:
    """The pickles among a repository's files that hold weights which nothing else there holds."""
    there = set(names)
    return tuple(
        name
        for name in sorted(there)
        if _is_pickle(name) and not _has_safetensors(there, name) and _is_read(there, name)
    )


def made_name(name: str) -> str:
    """The file that is made of a pickle."""
    folder, slash, last = name.rpartition("/")
    stem = last.rsplit(".", 1)[0].replace("pytorch_model", "model", 1)
    return f"{folder}{slash}{stem}.safetensors"


def _is_pickle(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return any(fnmatch.fnmatchcase(last, pattern) for pattern in (*_PICKLES, *_HEADS))


def _has_safetensors(there: set[str], name: str) -> bool:
    folder = name.rpartition("/")[0]
    if not name.rsplit("/", 1)[-1].startswith("pytorch_model"):
        return made_name(name) in there
    beside = {each for each in there if each.rpartition("/")[0] == folder}
    return any(each.rsplit("/", 1)[-1].startswith("model") for each in beside if _is_safe(each))


def _is_read(there: set[str], name: str) -> bool:
    """Only of the model's own folder and of the modules in it: others are exports or spares.

    A router holds modules of its own.
    """
    homes = name.split("/")[:-1]
    listed = [
        any("/".join([*homes[: depth + 1], each]) in there for each in _LISTS)
        for depth in range(len(homes))
    ]
    return not homes or ("modules.json" in there and all(listed))


def _is_safe(name: str) -> bool:
    return name.endswith((".safetensors", ".safetensors.index.json"))
