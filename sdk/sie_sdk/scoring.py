"""Scores of multivectors that are at hand, without asking the cluster.

*pure.* Late interaction: for each token of the query the most similar token of the document, summed
over the query. Reckoned in float32 whatever comes in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["maxsim", "maxsim_batch"]


def maxsim(query: Any, documents: Any) -> list[float]:
    """The score of each document, each [tokens, width], against the query of the same width; one
    array is one document. Raises `ValueError` for another shape."""
    if isinstance(documents, np.ndarray) and documents.ndim == 2:
        documents = [documents]
    return [float(score) for score in maxsim_batch([query], list(documents))[0]]


def maxsim_batch(queries: Sequence[Any], documents: Sequence[Any]) -> NDArray[np.float32]:
    """The scores as [queries, documents]. Raises `ValueError` for another shape."""
    asked = [_tokens(query, f"queries[{index}]") for index, query in enumerate(queries)]
    scores = np.zeros((len(asked), len(documents)), dtype=np.float32)
    for column, document in enumerate(documents):
        tokens = _tokens(document, f"documents[{column}]")
        for row, query in enumerate(asked):
            if query.shape[1] != tokens.shape[1]:
                raise ValueError(
                    f"documents[{column}] has tokens of {tokens.shape[1]} numbers and the query of "
                    f"{query.shape[1]}: both are to come from one model"
                )
            scores[row, column] = (query @ tokens.T).max(axis=1).sum()
    return scores


def _tokens(value: Any, where: str) -> NDArray[np.float32]:
    array = np.asarray(value, dtype=np.float32)
    if array.ndim != 2 or not len(array):
        raise ValueError(f"{where} is of shape {array.shape}, and not [tokens, width]")
    return array
