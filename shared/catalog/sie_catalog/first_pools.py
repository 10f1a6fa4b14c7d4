"""The pools that a new log holds, as an operator writes them: `default=cpu+l4,night=cpu`.

*pure.* A pool names the machine profiles of its workers. A worker of a profile that its pool does
not name gets no work, so whoever starts both says both.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["FIRST_POOLS", "first_pools"]

FIRST_POOLS: Final = ("default=cpu",)
"""The pools of a new log where nobody says more."""
_WORD: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")


def first_pools(texts: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The machine profiles of each pool. Raises `ValueError` for what names none."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        pool, _, listed = text.partition("=")
        machines = tuple(listed.split("+"))
        if not all(map(_WORD.fullmatch, (pool, *machines))):
            raise ValueError(
                f"{text!r} is no pool with its machine profiles: default=cpu+l4 is meant"
            )
        if pool in found or len(set(machines)) < len(machines):
            raise ValueError(f"{text!r} names a pool or a machine profile twice")
        found[pool] = machines
    if not found:
        raise ValueError("at least one pool is wanted, like default=cpu")
    return found
