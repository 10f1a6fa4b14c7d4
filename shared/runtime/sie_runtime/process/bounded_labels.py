"""Bounded labels: names of the registry as values of a metric's labels, up to a number of them.

*pure.* Promises no more different values than `names_max` and one further, `other`, whatever the
registry holds. A metric's series are kept for as long as its process lives.
"""

from typing import Final

__all__ = ["OTHER", "BoundedLabels"]

OTHER: Final = "other"
"""The value that stands for every name that came too late."""


class BoundedLabels:
    """The names that have a series of their own: the first `names_max` that were asked for."""

    def __init__(self, names_max: int) -> None:
        self._names_max = names_max
        self._kept: dict[tuple[str, ...], tuple[str, ...]] = {}

    def of(self, *names: str) -> tuple[str, ...]:
        """The values of the labels for these names: themselves, or `other` in each place."""
        kept = self._kept.get(names)
        if kept is not None:
            return kept
        if len(self._kept) >= self._names_max:
            return (OTHER,) * len(names)
        self._kept[names] = names
        return names
