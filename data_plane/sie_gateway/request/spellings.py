"""JSON as other languages write it: a null for what is absent, and 8.0 for 8.

*pure.* Promises that a null of a list is never dropped, for a place in a list means something.
Nothing is changed in what a client gives for itself or for a backend.
"""

from typing import Any, Final

__all__ = ["plainly"]

_OPAQUE: Final = frozenset({"options", "metadata", "output_schema", "documents"})
_WHOLE_MAX: Final = 2**53
"""Beyond it a float does not tell one whole number from the next."""


def plainly(value: Any) -> Any:
    """The decoded body without its fields that are null, and with whole numbers as such: JSON has
    one kind of numbers."""
    if isinstance(value, dict):
        return {
            name: inner if name in _OPAQUE else plainly(inner)
            for name, inner in value.items()
            if inner is not None
        }
    if isinstance(value, list):
        return [plainly(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _WHOLE_MAX:
        return int(value)
    return value
