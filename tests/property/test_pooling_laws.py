"""The law of pooling: tokens laid end to end come to the reference's vectors of each text alone."""

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.support.sameness import assert_same

from sie_layouts.steps import PoolingMode
from sie_server.vectors.pooling import pool

_MODES: dict[PoolingMode, str] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len": "mean_sqrt_len_tokens",
    "weighted_mean": "weightedmean",
    "last": "lasttoken",
}
_TEXTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 7)), min_size=1, max_size=4)
"""The tokens of each text, and those of its prompt: a cut may leave nothing but these."""


@example("last", [(2, 3), (3, 3), (1, 0)])
@given(st.sampled_from(sorted(_MODES)), _TEXTS)
def test_a_prompt_that_is_left_out_is_left_out_as_the_reference_does(
    mode: PoolingMode, texts: list[tuple[int, int]]
) -> None:
    generator = torch.Generator().manual_seed(len(texts))
    reference = Pooling(3, _MODES[mode], include_prompt=False)
    states = [torch.randn(length, 3, generator=generator) for length, _ in texts]
    expected = [
        reference(
            {
                "token_embeddings": own[None],
                "attention_mask": torch.ones(1, len(own), dtype=torch.int64),
                "prompt_length": skip,
            }
        )["sentence_embedding"][0]
        for own, (_, skip) in zip(states, texts, strict=True)
    ]
    lengths, skips = [length for length, _ in texts], [skip for _, skip in texts]
    found = pool(torch.cat(states), lengths, mode, skips=skips)
    # Of no token at all the greatest is no number, there and here: such a text is refused.
    there = torch.stack(expected).isfinite().all(dim=1)
    assert torch.equal(found.isfinite().all(dim=1), there)
    if there.any():
        assert_same(found[there].numpy(), torch.stack(expected)[there].numpy())
