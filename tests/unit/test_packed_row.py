"""The one call of a whole packed row that a CUDA device gets, by the meaning of its arguments."""

from dataclasses import dataclass

import pytest
import torch
from tests.support.sameness import assert_same
from torch import Tensor

from sie_server.packed.packed_attention import Plan, attend_groups, attend_row
from sie_server.packed.packing import lay_out

_LENGTHS = (9, 3, 3, 1, 14)


@dataclass
class _Called:
    """Attention as torch's `varlen_attn` states it: sequence by sequence, by its mask."""

    longest: int = 0

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bounds: Tensor,
        key_bounds: Tensor,
        longest: int,
        key_longest: int,
        *,
        scale: float | None,
        window_size: tuple[int, int],
        enable_gqa: bool,
    ) -> Tensor:
        assert torch.equal(bounds, key_bounds) and longest == key_longest
        self.longest = longest
        if enable_gqa:
            share = query.shape[1] // key.shape[1]
            key, value = (each.repeat_interleave(share, dim=1) for each in (key, value))
        output = torch.empty_like(query)
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            places = torch.arange(stop - start)
            behind = places[:, None] - places[None, :]
            left, right = window_size
            seen = torch.ones_like(behind, dtype=torch.bool)
            if left >= 0:
                seen &= behind <= left
            if right >= 0:
                seen &= -behind <= right
            scores = torch.einsum("qhd,khd->hqk", query[start:stop], key[start:stop])
            scores = scores * (scale or query.shape[2] ** -0.5)
            weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
            output[start:stop] = torch.einsum("hqk,khd->qhd", weights, value[start:stop])
        return output


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_a_whole_row_is_attended_as_its_sequences_are_in_groups(causal, window, key_heads):
    packed = lay_out(_LENGTHS, [None] * len(_LENGTHS))
    ends = torch.tensor((0, *packed.lengths), dtype=torch.int32).cumsum(0, dtype=torch.int32)
    torch.manual_seed(3)
    query = torch.randn(1, 4, packed.tokens, 8)
    key, value = torch.randn(2, 1, key_heads, packed.tokens, 8).unbind()
    given = (query, key, value, 0.3, causal, window)
    called = _Called()

    row = attend_row(called, Plan(packed, ends), *given)

    groups = attend_groups(Plan(packed, None), *given)
    assert row.shape == groups.shape
    assert_same(row.flatten(end_dim=-2).numpy(), groups.flatten(end_dim=-2).numpy())
    assert called.longest == max(_LENGTHS)
