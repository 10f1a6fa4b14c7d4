"""Laws of packed rows: for each kind of attention a text has the hidden states that it has alone.

The reference is the model's own padded forward over one text. Each example draws its lengths, its
adapters, the prefixes that are looked at, and the types of tokens.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
import transformers as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.activations import GELUActivation

from sie_server.adapters.lora import Adapter, Delta
from sie_server.backends.architectures.alibi_bert import AlibiBertModel, alibi_config
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.packed.packed_attention import PACKED, PLAN_KEYWORD, NotPackable, Plan, register
from sie_server.packed.packing import end_to_end
from sie_server.packed.prepacked import PrepackedLinear, prepack
from sie_server.tolerances import logits_agree

_WORDS = 60
_POSITIONS = 700
_ADAPTERS = 5
_SIZES: dict[str, Any] = {
    "vocab_size": _WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": _POSITIONS,
    "pad_token_id": 1,
}
_GROUPED = {**_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
_MODELS: dict[str, Any] = {
    "bert": lambda: tf.BertModel(tf.BertConfig(**_SIZES), add_pooling_layer=False),
    # Its table of positions has a place for padding, and counts from behind it.
    "roberta": lambda: tf.RobertaModel(tf.RobertaConfig(**_SIZES), add_pooling_layer=False),
    "mpnet": lambda: tf.MPNetModel(tf.MPNetConfig(**_SIZES), add_pooling_layer=False),
    "bert by distance": lambda: AlibiBertModel(alibi_config({**_SIZES, "type_vocab_size": 2}, {})),
    "modernbert": lambda: tf.ModernBertModel(
        tf.ModernBertConfig(  # type: ignore[call-arg]
            **_SIZES, local_attention=8, global_attn_every_n_layers=2, bos_token_id=0,
            eos_token_id=2, cls_token_id=0, sep_token_id=2,
        )
    ),
    "qwen2": lambda: tf.Qwen2Model(tf.Qwen2Config(**_GROUPED)),
    "mistral": lambda: tf.MistralModel(tf.MistralConfig(**_GROUPED, sliding_window=9)),
    "gemma3 in both directions": lambda: tf.Gemma3TextModel(
        tf.Gemma3TextConfig(
            **_GROUPED, use_bidirectional_attention=True, sliding_window=9,
            layer_types=["sliding_attention", "full_attention"],
        )
    ),
}  # fmt: skip
_TEXT = st.tuples(
    st.integers(1, 12) | st.integers(1, 140) | st.sampled_from([127, 128, 129, 600]),
    st.none() | st.integers(0, _ADAPTERS - 1),
    st.integers(1, 12),
)


@cache
def _encoder(kind: str, *, prepacked: bool = False) -> Encoder:
    register()
    torch.manual_seed(5)
    model = _MODELS[kind]().eval().requires_grad_(False)
    for weight in model.parameters():
        # Larger than at first: an attention that looks elsewhere shows.
        weight.copy_(torch.randn_like(weight) * 0.25 if weight.ndim > 1 else weight + 0.1)
    encoder = Encoder(model, device=torch.device("cpu"))
    if prepacked:
        before = encoder.memory_bytes
        encoder.prepack()
        assert encoder.memory_bytes == before, "weights in another order are as many bytes"
    return encoder


@cache
def _adapters(kind: str) -> tuple[Adapter, ...]:
    """Each changes other layers, with a rank of its own."""
    torch.manual_seed(6)
    linears = [
        (name, module)
        for name, module in _encoder(kind).model.named_modules()
        if type(module) is torch.nn.Linear
    ]
    return tuple(
        Adapter(
            {
                name: Delta(
                    0.3 * torch.randn(number + 1, module.in_features),
                    0.3 * torch.randn(number + 1, module.out_features),
                )
                for name, module in linears[number % 2 :: 2]
            }
        )
        for number in range(_ADAPTERS)
    )


def _sequences(
    encoder: Encoder, texts: Sequence[tuple[int, int | None, int]], seed: int, *, prefixed: bool
) -> Sequences:
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(_WORDS, (length,), generator=generator) for length, _, _ in texts]
    types = [torch.randint(max(1, encoder.types), one.shape, generator=generator) for one in ids]
    return Sequences(
        ids=ids,
        type_ids=types if encoder.types else [None] * len(ids),
        owners=[owner for _, owner, _ in texts],
        attended=[min(length, looked) for length, _, looked in texts] if prefixed else (),
    )


def _by_text(states: States, batch: Sequences) -> dict[int, Tensor]:
    lengths = [batch.lengths[index] for index in states.order]
    return dict(zip(states.order, states.hidden.split(lengths), strict=True))


def _alone(encoder: Encoder, batch: Sequences, index: int, adapters: Sequence[Adapter]) -> Tensor:
    single = Sequences(
        ids=[batch.ids[index]],
        type_ids=[batch.type_ids[index]],
        owners=[batch.owners[index]],
        attended=batch.attended[index : index + 1],
    )
    return encoder.padded(single, adapters, tokens_max=1).hidden


def _assert_states(found: Tensor, expected: Tensor) -> None:
    """Equal hidden states of a text, each number by itself, as a logit is: no pooling evens it out.

    A norm stands last, so a state is about 1. Of the 9,600 numbers of 600 tokens the worst differs
    by 1e-5, which is the bound of a pooled vector; with the adapter of another text one does by 1.
    """
    assert found.shape == expected.shape
    assert logits_agree(found, expected, torch.float32), (found - expected).abs().max()


@pytest.mark.parametrize("kind", _MODELS)
@settings(max_examples=8)
# Alone in its block, and longer than a window: no mask is there for another reason.
@example(texts=[(15, None, 1)], seed=0, prepacked=False, prefixed=False)
@given(
    texts=st.lists(_TEXT, min_size=1, max_size=9),
    seed=st.integers(0, 2**16),
    prepacked=st.booleans(),
    prefixed=st.booleans(),
)
def test_each_text_of_a_packed_batch_has_the_states_that_it_has_alone(
    kind, texts, seed, prepacked, prefixed
):
    plain, packed = _encoder(kind), _encoder(kind, prepacked=prepacked)
    batch = _sequences(plain, texts, seed, prefixed=prefixed)
    packed.choose("packed")
    together = _by_text(packed.packed(batch, _adapters(kind)), batch)
    plain.choose("padded")
    for index in range(len(texts)):
        alone = _alone(plain, batch, index, _adapters(kind))
        _assert_states(together[index], alone)


@pytest.mark.parametrize("kind", _MODELS)
@settings(max_examples=5)
@given(
    texts=st.lists(
        st.tuples(st.integers(1, 12), st.none() | st.integers(0, 1), st.integers(1, 12)),
        min_size=2,
        max_size=6,
    ),
    tokens_max=st.integers(1, 40),
    prefixed=st.booleans(),
)
def test_each_text_of_a_padded_batch_has_the_states_that_it_has_alone(
    kind, texts, tokens_max, prefixed
):
    encoder = _encoder(kind)
    encoder.choose("padded")
    batch = _sequences(encoder, texts, 4, prefixed=prefixed)
    states = encoder.padded(batch, _adapters(kind), tokens_max=tokens_max)
    together = _by_text(states, batch)
    for index in range(len(texts)):
        alone = _alone(encoder, batch, index, _adapters(kind))
        _assert_states(together[index], alone)


@pytest.mark.parametrize("kind", _MODELS)
def test_beside_a_text_that_overflows_a_number_is_right_or_none(kind):
    """Nothing times infinity is no number, so the batch fails and is halved; never is it wrong."""
    encoder = _encoder(kind)
    texts = [(30, 0, 1), (20, None, 1), (9, 1, 1), (12, 0, 1)]
    batch = _sequences(encoder, texts, 3, prefixed=False)
    mild = _adapters(kind)[0]
    wild = Adapter(
        {
            name: Delta(torch.full_like(delta.down, 3e38), torch.ones_like(delta.up))
            for name, delta in mild.deltas.items()
        }
    )
    encoder.choose("packed")
    together = _by_text(encoder.packed(batch, [mild, wild]), batch)
    encoder.choose("padded")
    assert not together[2].isfinite().all()
    for index in (0, 1, 3):
        if together[index].isfinite().all():
            alone = _alone(encoder, batch, index, [mild, wild])
            _assert_states(together[index], alone)


@pytest.mark.parametrize("kind", _MODELS)
def test_only_models_without_a_bias_by_place_are_attended_by_whole_rows(kind):
    """Such a bias is quadratic in its block, and a row on CUDA is 131,072 tokens."""
    model = _MODELS[kind]().to(torch.bfloat16)
    encoder = Encoder(model, device=torch.device("cuda"))
    assert encoder.attends_rows == (kind not in ("mpnet", "bert by distance"))


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet"])
def test_a_table_of_positions_is_read_to_its_last_place_and_no_further(kind):
    encoder = _encoder(kind)
    encoder.choose("padded")
    assert encoder.positions is not None
    for beyond in (0, 1):
        # No token of padding: it has a place of its own.
        ids = torch.full((encoder.positions + beyond,), 7)
        single = Sequences(ids=[ids], type_ids=[None], owners=[None])
        if beyond:
            with pytest.raises((IndexError, RuntimeError)):
                encoder.padded(single, tokens_max=1)
        else:
            assert encoder.padded(single, tokens_max=1).hidden.isfinite().all()


@pytest.mark.parametrize("wanted", ["position_bias", "softcap", "s_aux", "cache", "a mask", "more"])
def test_attention_that_wants_what_is_not_known_is_refused(wanted):
    """Each by itself: the probe then runs the model padded."""
    register()
    attend = tf.AttentionInterface()[PACKED]
    [row] = end_to_end([4], [None], 8)
    states = torch.randn(1, 1, 4, 8)
    plan = {PLAN_KEYWORD: Plan(row, torch.device("cpu"))}
    found, _ = attend(nn.Module(), states, states, states, None, **plan)
    assert found.shape == (1, 4, 1, 8)
    mask = torch.zeros(4, 4) if wanted == "a mask" else None
    keys = states.repeat(1, 1, 2, 1) if wanted == "more" else states
    terms = {} if wanted in ("a mask", "more") else {wanted: torch.ones(1)}
    with pytest.raises(NotPackable):
        attend(nn.Module(), states, keys, keys, mask, **plan, **terms)


class _Twice(nn.Linear):
    """A layer that computes something else than its weights say."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class _Layer(nn.Module):
    """A layer with an activation behind it, under names that families have."""

    def __init__(self, linear: nn.Linear, activation: nn.Module) -> None:
        super().__init__()
        self.dense = linear
        self.intermediate_act_fn = activation

    def forward(self, states: Tensor) -> Tensor:
        result: Tensor = self.intermediate_act_fn(self.dense(states))
        return result


@given(
    layers=st.lists(
        st.tuples(
            st.sampled_from([nn.Linear, _Twice]),
            st.sampled_from(
                [nn.Identity, nn.ReLU, GELUActivation, tf.activations.NewGELUActivation]
            ),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_layers_that_compute_the_same_are_laid_out_anew_and_put_back_every_one(layers):
    made = [_Layer(kind(8, 8), active()) for kind, active, _ in layers]
    model = nn.Sequential(*made).requires_grad_(False)
    tied = [
        nn.Embedding(8, 8, _weight=layer.dense.weight)
        for layer, (_, _, is_tied) in zip(made, layers, strict=True)
        if is_tied
    ]
    whole = nn.ModuleList([model, *tied])
    states = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    expected, before = model(states), list(whole.named_modules())
    swap = prepack(whole)
    assert logits_agree(model(states), expected, torch.float32)
    for place, (kind, active, is_tied) in enumerate(layers):
        is_new = isinstance(made[place].dense, PrepackedLinear)
        assert is_new == (bool(swap.replaced) and kind is nn.Linear and not is_tied)
        is_folded = type(made[place].intermediate_act_fn) is not active
        assert is_folded == (is_new and active is GELUActivation)
    swap.undo()
    assert list(whole.named_modules()) == before
