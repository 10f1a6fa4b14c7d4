"""Merge patches: RFC 7396.

*pure.* Promises a new value and leaves both arguments as they are.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["merged"]


def merged(target: Any, patch: Any) -> Any:
    """The target after the patch: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
