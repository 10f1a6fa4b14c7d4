"""Vectors of results as plain lists, as vector databases and their integrations want them.

*pure.* Takes results of `encode`, or anything with the same keys or attributes.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias, TypedDict

__all__ = [
    "SparseLists",
    "SparseVector",
    "dense_embedding",
    "multivector_embedding",
    "normalize_sparse_vector",
    "sparse_embedding",
    "sparse_embedding_dict",
]


class SparseLists(TypedDict):
    """The non-zero places of a vector, and what stands there."""

    indices: list[int]
    values: list[float]


# The published client's name of the same.
SparseVector: TypeAlias = SparseLists


def dense_embedding(result: Any, *, strict: bool = True) -> list[float]:
    """The dense vector. Raises `ValueError` where there is none; [] where not `strict`."""
    dense = _part(result, "dense")
    if dense is None:
        if strict:
            raise ValueError("the result has no dense vector: ask for output_types=['dense']")
        return []
    return _plain(dense)


def sparse_embedding(result: Any) -> SparseLists:
    """The sparse vector; empty where there is none."""
    return normalize_sparse_vector(_part(result, "sparse"))


def sparse_embedding_dict(result: Any) -> dict[int, float]:
    """The sparse vector as index to value; empty where there is none."""
    sparse = sparse_embedding(result)
    return dict(zip(sparse["indices"], sparse["values"], strict=True))


def normalize_sparse_vector(sparse: Any) -> SparseLists:
    """A result's `sparse` as lists; empty where it lacks either part."""
    indices, values = _part(sparse, "indices"), _part(sparse, "values")
    if indices is None or values is None:
        return {"indices": [], "values": []}
    return {"indices": _plain(indices), "values": _plain(values)}


def multivector_embedding(raw: Any) -> list[list[float]]:
    """A result's `multivector` as one list for each token."""
    return _plain(raw) if hasattr(raw, "tolist") else [_plain(row) for row in raw]


def _part(whole: Any, name: str) -> Any:
    return whole.get(name) if isinstance(whole, Mapping) else getattr(whole, name, None)


def _plain(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)
