"""Fields that are null, as many languages write what is absent.

*pure.* Promises that a null of a list is never dropped, for a place in a list means something.
Nothing is dropped from what a client gives for itself or for a backend.
"""

from typing import Any, Final

__all__ = ["without_nulls"]

_OPAQUE: Final = frozenset({"options", "metadata", "output_schema", "documents"})


def without_nulls(value: Any) -> Any:
    """The decoded body without its fields that are null."""
    if isinstance(value, dict):
        return {
            name: inner if name in _OPAQUE else without_nulls(inner)
            for name, inner in value.items()
            if inner is not None
        }
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value
