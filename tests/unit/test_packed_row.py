"""The one call of a whole packed row that a CUDA device gets, by the meaning of its arguments."""

from dataclasses import dataclass

import pytest
import torch
from tests.support.sameness import assert_same
from torch import Tensor

from sie_server.packed.packed_attention import Plan, attend_blocks, attend_row
from sie_server.packed.packing import PackedRow, end_to_end, packed_rows

_LENGTHS = (9, 3, 3, 1, 14)
_CPU = torch.device("cpu")


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
def test_a_whole_row_is_attended_as_its_sequences_are_in_blocks(causal, window, key_heads):
    owners = [None] * len(_LENGTHS)
    [whole] = end_to_end(_LENGTHS, owners, 1000)
    [filled] = packed_rows(_LENGTHS, owners, tokens_max=64, block=16)
    assert len(filled.gaps) == len(_LENGTHS) and any(filled.gaps)
    torch.manual_seed(3)
    query = torch.randn(1, 4, whole.tokens, 8)
    key, value = torch.randn(2, 1, key_heads, whole.tokens, 8).unbind()
    called = _Called()

    row = attend_row(called, Plan(whole, _CPU, by_row=True), query, key, value, 0.3, causal, window)

    queries, keys, values = (_in_blocks(states, whole, filled) for states in (query, key, value))
    blocks = attend_blocks(Plan(filled, _CPU), queries, keys, values, 0.3, causal, window)[0]
    found = dict(zip(filled.order, blocks.split(filled.spans)[::2], strict=True))
    for index, part in zip(whole.order, row[0].split(whole.lengths), strict=True):
        assert_same(part.flatten(1).numpy(), found[index].flatten(1).numpy())
    assert called.longest == max(_LENGTHS)


def _in_blocks(states: Tensor, whole: PackedRow, filled: PackedRow) -> Tensor:
    """The same sequences as they lie in the other row, with filling that would be noticed."""
    parts = dict(zip(whole.order, states.split(whole.lengths, dim=2), strict=True))
    spans: list[Tensor] = []
    for index, gap in zip(filled.order, filled.gaps, strict=True):
        spans += [parts[index], torch.full((*states.shape[:2], gap, states.shape[3]), 100.0)]
    return torch.cat(spans, dim=2)
