"""Hypothesis strategies for everything that the cluster's laws are stated over.

*pure.* Values are small and collide often: few kinds, few keys, few fields, so that a change meets
an earlier one.
"""

from typing import Any

from hypothesis import strategies as st

from sie_schemas.canonical import INTEGER_MAX
from sie_schemas.entry import ENTITY_KINDS, Change, delete, put

__all__ = ["change_lists", "documents", "json_values", "keys", "kinds"]

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def json_values() -> st.SearchStrategy[Any]:
    """Every JSON value that the API accepts: numbers whose canonical form reads back."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-INTEGER_MAX, INTEGER_MAX)
        | st.floats(-INTEGER_MAX, INTEGER_MAX)
        | st.floats(1e21, 1e300)
        | _TEXT
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
        max_leaves=12,
    )


def kinds() -> st.SearchStrategy[str]:
    """A kind of entity."""
    return st.sampled_from(ENTITY_KINDS)


def keys() -> st.SearchStrategy[str]:
    """A key; few, so that histories of one entity grow."""
    return st.sampled_from(["a", "b", "org/c", "é", "k" * 40])


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """A document as the fold sees it: any JSON object."""
    return st.dictionaries(_TEXT, json_values(), max_size=3)


def change_lists() -> st.SearchStrategy[list[Change]]:
    """The changes of one entry. Deletes may be of what is not there: then the fold refuses."""
    puts = st.builds(put, kinds(), keys(), documents())
    deletes = st.builds(delete, kinds(), keys())
    return st.lists(puts | puts | deletes, min_size=1, max_size=4)
