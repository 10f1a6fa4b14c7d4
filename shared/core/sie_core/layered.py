"""A mapping that changes a little and often, and is never changed in place.

*pure.* Two layers: what many versions share, and over it what changed since. The upper one is
copied at each change, and poured into the lower one when it has grown to the root of its size. So a
change of a map of n costs about the root of n, and not n.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, cast

__all__ = ["Layered"]

_Value = TypeVar("_Value")

_UPPER_MIN: Final = 16
"""Below so many changes pouring would cost more than it saves."""


class Layered(Mapping[str, _Value], Generic[_Value]):
    """A map in no order. Equal to any mapping with the same items."""

    __slots__ = ("_lower", "_upper")

    def __init__(self, lower: Mapping[str, _Value], upper: Mapping[str, _Value | None]) -> None:
        self._lower: Final = lower
        self._upper: Final = upper
        """The values put since; None for a key that went."""

    def with_changes(self, changes: Mapping[str, _Value | None]) -> "Layered[_Value]":
        """The next version: a value is put, None takes the key away."""
        upper = {**self._upper, **changes}
        if len(upper) <= _UPPER_MIN or len(upper) ** 2 <= len(self._lower):
            return Layered(self._lower, upper)
        lower = {**self._lower, **upper}
        for key in [key for key, value in upper.items() if value is None]:
            del lower[key]
        return Layered(cast("dict[str, _Value]", lower), {})

    def __getitem__(self, key: str) -> _Value:
        found: _Value | None = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str, default: Any = None) -> Any:
        """As every mapping's, without an exception on the way."""
        upper = self._upper
        found = upper[key] if key in upper else self._lower.get(key)
        return default if found is None else found

    def __iter__(self) -> Iterator[str]:
        upper = self._upper
        yield from (key for key in self._lower if key not in upper)
        yield from (key for key, value in upper.items() if value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
