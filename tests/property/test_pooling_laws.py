"""The law of pooling: tokens laid end to end come to the reference's vectors of each text alone."""

import torch
from hypothesis import example, given, settings
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


@given(
    mode=st.sampled_from(sorted(_MODES)),
    lengths=st.lists(st.integers(1, 400), min_size=1, max_size=3),
    kind=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
    skips=st.booleans(),
)
@settings(max_examples=60)
def test_a_model_in_half_precision_is_pooled_as_exactly_as_one_in_whole(
    mode: PoolingMode, lengths: list[int], kind: torch.dtype, skips: bool
) -> None:
    """The sum of 400 numbers in bfloat16 has two digits. What is rounded is the model's alone."""
    generator = torch.Generator().manual_seed(len(lengths))
    states = (1 + torch.randn(sum(lengths), 3, generator=generator)).to(kind)
    prompts = [length // 2 for length in lengths] if skips else []
    found = pool(states, lengths, mode, skips=prompts)
    assert found.dtype == torch.float32
    assert torch.equal(found, pool(states.float(), lengths, mode, skips=prompts))
    first = 0
    for row, (place, length) in zip(found, enumerate(lengths), strict=True):
        own = states[first : first + length].double()
        first += length
        skip = prompts[place] if skips else 0
        places = torch.arange(skip, length, dtype=torch.float64)[:, None] + 1
        counted = own[skip:]
        wanted = {
            "cls": counted[0],
            "last": counted[-1],
            "max": counted.amax(dim=0),
            "mean": counted.mean(dim=0),
            "mean_sqrt_len": counted.sum(dim=0) / len(counted) ** 0.5,
            "weighted_mean": (counted * places).sum(dim=0) / places.sum(),
        }[mode]
        assert_same(row.float().numpy(), wanted.float().numpy())
