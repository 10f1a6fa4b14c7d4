"""From the hidden states of flat tokens to one vector for each sequence.

*device.* Works on tokens laid end to end, in float32 whatever the model's type. Sequences are given
by their lengths, in the order of the tokens.
"""

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor

from sie_layouts.steps import PoolingMode

__all__ = ["pool"]


def pool(
    hidden: Tensor,
    lengths: Sequence[int],
    mode: PoolingMode,
    *,
    normalize: bool = False,
    skips: Sequence[int] = (),
) -> Tensor:
    """Hidden states [tokens, width] to vectors [sequences, width], float32.

    `skips`, where given, are the leading tokens of each sequence that do not count: a prompt's.
    """
    pooled = _Pool(hidden.float(), lengths, skips).of(mode)
    return torch.nn.functional.normalize(pooled, dim=1) if normalize else pooled


class _Pool:
    """The tokens that count, and whose they are."""

    def __init__(self, states: Tensor, lengths: Sequence[int], skips: Sequence[int]) -> None:
        sizes = torch.tensor(lengths, device=states.device)
        self._starts = sizes.cumsum(0) - sizes
        self._ends = self._starts + sizes
        self._all = states
        self._counted = states
        self._sizes = sizes
        self._first = torch.zeros_like(sizes)
        self._owners: Tensor | None = None
        if any(skips):
            self._first = torch.minimum(torch.tensor(skips, device=states.device), sizes)
            owners = _owners(sizes)
            counts = torch.arange(len(states), device=states.device) - self._starts[owners]
            kept = counts >= self._first[owners]
            self._counted, self._owners = states[kept], owners[kept]
            self._sizes = sizes - self._first

    def of(self, mode: PoolingMode) -> Tensor:
        match mode:
            case "cls":
                # Where every token is the prompt's, the reference takes the very first.
                there = torch.where(self._sizes > 0, self._first, 0)
                return self._all[self._starts + there]
            case "last":
                # Of a text that is all prompt the reference leaves nothing here, and zeros.
                return self._all[self._ends - 1] * (self._sizes > 0)[:, None]
            case "max":
                return self._greatest()
            case "mean":
                return self._sums(self._counted) / self._counts()
            case "mean_sqrt_len":
                return self._sums(self._counted) / self._counts().sqrt()
            case "weighted_mean":
                return self._weighted()
            case _:
                assert_never(mode)

    def _greatest(self) -> Tensor:
        width = self._counted.shape[1]
        lowest = self._counted.new_full((len(self._sizes), width), float("-inf"))
        owners = self._whose()[:, None].expand_as(self._counted)
        return lowest.scatter_reduce_(0, owners, self._counted, "amax")

    def _weighted(self) -> Tensor:
        """Each token by its place in the text, the first once: a prompt keeps its places."""
        owners = self._whose()
        fresh = self._sizes.cumsum(0) - self._sizes
        places = torch.arange(len(self._counted), device=owners.device) - fresh[owners]
        weights = (places + self._first[owners] + 1).to(self._counted.dtype)[:, None]
        return self._sums(self._counted * weights) / self._sums(weights).clamp(min=1e-9)

    def _counts(self) -> Tensor:
        # A text that is all prompt counts no token: zeros come of it, and no NaN.
        return self._sizes[:, None].float().clamp(min=1e-9)

    def _sums(self, states: Tensor) -> Tensor:
        empty = states.new_zeros(len(self._sizes), states.shape[1])
        return empty.index_add_(0, self._whose(), states)

    def _whose(self) -> Tensor:
        if self._owners is None:
            self._owners = _owners(self._sizes)
        return self._owners


def _owners(sizes: Tensor) -> Tensor:
    return torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
