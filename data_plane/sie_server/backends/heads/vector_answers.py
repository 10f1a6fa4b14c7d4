"""From tensors in packed order to answers in the order of the inputs.

*device.* Promises little-endian float32 and int32 bytes, C order.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sie_schemas.ipc import SparseAnswers
from sie_server.backends.forward.encoder import Sequences, States
from sie_server.backends.heads.encode_heads import Sparse

__all__ = [
    "as_given",
    "float_bytes",
    "lengths_of",
    "rows_as_given",
    "sparse_answers",
    "sparse_rows",
]

T = TypeVar("T")


def lengths_of(states: States, sequences: Sequences) -> list[int]:
    """Tokens of each sequence, in packed order."""
    return [len(sequences.ids[index]) for index in states.order]


def rows_as_given(rows: Tensor, order: Sequence[int]) -> Tensor:
    """Rows of packed sequences in the order of the inputs."""
    given = torch.empty_like(rows)
    given[torch.tensor(order, device=rows.device)] = rows
    return given


def as_given(values: Sequence[T], order: Sequence[int]) -> list[T]:
    """Values of packed sequences in the order of the inputs."""
    return [value for _, value in sorted(zip(order, values, strict=True), key=itemgetter(0))]


def float_bytes(values: Tensor) -> bytes:
    """A tensor's numbers."""
    # float32 first: numpy has no bfloat16.
    return np.ascontiguousarray(values.float().cpu().numpy().astype("<f4", copy=False)).tobytes()


def sparse_answers(vectors: Sequence[Sparse]) -> SparseAnswers:
    """Sparse vectors one behind the other."""
    return SparseAnswers(
        counts=np.array([len(indices) for indices, _ in vectors], dtype="<i4").tobytes(),
        indices=b"".join(indices.astype("<i4", copy=False).tobytes() for indices, _ in vectors),
        values=b"".join(values.astype("<f4", copy=False).tobytes() for _, values in vectors),
    )


def sparse_rows(rows: Tensor, kept: int | None) -> SparseAnswers:
    """Rows [sequences, width] of which most numbers are zero; at most `kept` each, the greatest."""
    if kept is not None and kept < rows.shape[1]:
        greatest = rows.abs().topk(kept, dim=1).indices
        rows = torch.zeros_like(rows).scatter_(1, greatest, rows.gather(1, greatest))
    numbers = rows.float().cpu().numpy()
    places = [np.flatnonzero(row) for row in numbers]
    return sparse_answers(
        [(place.astype(np.int32), row[place]) for place, row in zip(places, numbers, strict=True)]
    )
