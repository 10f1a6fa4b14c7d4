"""Tables of a vocabulary: a vector or a weight for each token, looked up and no more.

*device* over verified safetensors files. Everything is float32.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sie_layouts.steps import StaticStep, TokenWeightsStep
from sie_server.failures import load_failed
from sie_server.vectors.layer_files import read_tensors
from sie_server.weights.sources import Weights

__all__ = ["Table", "read_table"]


class Table:
    """One table. `of` gives a row for each text, of its token ids."""

    def __init__(self, rows: Tensor, of: Callable[[Sequence[Tensor]], Tensor], width: int) -> None:
        self.of = of
        self.width = width
        self.vocabulary = len(rows)
        self.memory_bytes = rows.nbytes


def read_table(weights: Weights, step: StaticStep | TokenWeightsStep, place: torch.device) -> Table:
    """The table of a step. Raises MODEL_LOAD_FAILED."""
    if isinstance(step, StaticStep):
        return _vectors(weights, step, place)
    tensors = read_tensors(weights, step.file)
    if set(tensors) != {"weight"} or tensors["weight"].ndim != 1:
        raise load_failed(f"{step.file} holds {sorted(tensors)}, and one row `weight` is wanted")
    weight = tensors["weight"].to(place).float()

    def weighed(texts: Sequence[Tensor]) -> Tensor:
        """Each token's weight once, however often it is there."""
        there = weight.new_zeros(len(texts), len(weight))
        for row, ids in zip(there, texts, strict=True):
            row[ids.to(place)] = 1
        return there * weight

    return Table(weight, weighed, len(weight))


def _vectors(weights: Weights, step: StaticStep, place: torch.device) -> Table:
    tensors = read_tensors(weights, step.file)
    rows = tensors.get("embedding.weight")
    if rows is None:
        rows = _folded(step.file, tensors)
    table = rows.to(place).float()

    def mean(texts: Sequence[Tensor]) -> Tensor:
        sizes = torch.tensor([len(ids) for ids in texts])
        found: Tensor = torch.nn.functional.embedding_bag(
            torch.cat(list(texts)).to(place), table, (sizes.cumsum(0) - sizes).to(place)
        )
        return found

    return Table(table, mean, table.shape[1])


def _folded(file: str, tensors: dict[str, Tensor]) -> Tensor:
    """A model2vec file: rows of which several tokens share one, each token with a weight."""
    rows = tensors.get("embeddings")
    if rows is None:
        raise load_failed(f"{file} holds {sorted(tensors)}, and no embedding.weight; restore it")
    if "mapping" in tensors:
        rows = rows[tensors["mapping"].long()]
    if "weights" in tensors:
        # As the reference does: in half precision a product would be rounded once more, and weights
        # in float64 count whole before it is rounded.
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        rows = (rows * tensors["weights"][:, None]).to(rows.dtype)
    return rows
