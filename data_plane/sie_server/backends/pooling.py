"""From the hidden states of flat tokens to one vector for each sequence.

*device.* Works on tokens laid end to end, in float32 whatever the model's type. Sequences are given
by their lengths, in the order of the tokens.
"""

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor

from sie_server.backends.sentence_layout import PoolingMode

__all__ = ["pool"]


def pool(hidden: Tensor, lengths: Sequence[int], mode: PoolingMode, *, normalize: bool) -> Tensor:
    """Hidden states [tokens, width] to vectors [sequences, width], float32."""
    states = hidden.float()
    sizes = torch.tensor(lengths, device=states.device)
    ends = sizes.cumsum(0)
    match mode:
        case "cls":
            vectors = states[ends - sizes]
        case "last":
            vectors = states[ends - 1]
        case "max":
            lowest = states.new_full((len(lengths), states.shape[1]), float("-inf"))
            owners = _owners(sizes)[:, None].expand_as(states)
            vectors = lowest.scatter_reduce_(0, owners, states, "amax")
        case "mean":
            vectors = _sums(states, sizes) / sizes[:, None]
        case "mean_sqrt_len":
            vectors = _sums(states, sizes) / sizes[:, None].sqrt()
        case _:
            assert_never(mode)
    return torch.nn.functional.normalize(vectors, dim=1) if normalize else vectors


def _sums(states: Tensor, sizes: Tensor) -> Tensor:
    empty = states.new_zeros(len(sizes), states.shape[1])
    return empty.index_add_(0, _owners(sizes), states)


def _owners(sizes: Tensor) -> Tensor:
    return torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
