"""BERT that tells places apart by distance alone (ALiBi, both ways), with a gated layer.

*device.* The architecture that jina-embeddings-v2 published, in its two forms: with and without
norms of queries and keys. It adds a bias, and so goes through no interface of attention. Packed, it
attends in blocks, whose places have the same bias whatever sequences lie there.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import BertConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from sie_layouts.architectures.published import ConfigJson
from sie_server.packed.packed_attention import PLAN_KEYWORD, Plan, attend_blocks

__all__ = ["AlibiBertModel", "alibi_config", "slopes"]

_GATES: Final = {"geglu": nn.GELU, "reglu": nn.ReLU}


def alibi_config(config: ConfigJson, tensors: Mapping[str, Tensor]) -> BertConfig:
    """The config of a published config.json, with the kind of its gate (`gate`).

    `tensors` show whether queries and keys are normed (`normed`).
    """
    taken = {
        name: config[name]
        for name in (
            "hidden_size", "intermediate_size", "layer_norm_eps", "max_position_embeddings",
            "num_attention_heads", "num_hidden_layers", "pad_token_id", "type_vocab_size",
            "vocab_size",
        )
        if name in config
    }  # fmt: skip
    found = BertConfig(**taken)
    found.update(
        {
            "gate": str(config.get("feed_forward_type", "geglu")),
            "normed": any(name.endswith("layer_norm_q.weight") for name in tensors),
        }
    )
    return found


def slopes(heads: int) -> list[float]:
    """The slope of each head's bias: powers of two, those between for other counts of heads."""
    power = 2 ** math.floor(math.log2(heads))
    found = [2 ** (-8 * (place + 1) / power) for place in range(power)]
    between = [2 ** (-4 * (place + 1) / power) for place in range(0, 2 * power, 2)]
    return found + between[: heads - power]


class _Embeddings(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor, types: Tensor) -> Tensor:
        summed = self.word_embeddings(ids) + self.token_type_embeddings(types)
        normed: Tensor = self.LayerNorm(summed)
        return normed


class _Attention(nn.Module):
    """`attention` of a layer: its parts under the published names."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.self = nn.Module()
        for name in ("query", "key", "value"):
            setattr(self.self, name, nn.Linear(width, width))
        for name in ("layer_norm_q", "layer_norm_k"):
            norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
            setattr(self.self, name, norm if config.normed else nn.Identity())
        self.output = nn.Module()
        self.output.dense = nn.Linear(width, width)
        self.output.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, bias: Tensor, plan: Plan | None) -> Tensor:
        own: Any = self.self
        shape = (*hidden.shape[:-1], self.heads, -1)
        query, key, value = (
            part.view(shape).transpose(1, 2)
            for part in (
                own.layer_norm_q(own.query(hidden)),
                own.layer_norm_k(own.key(hidden)),
                own.value(hidden),
            )
        )
        mixed = _attended(query, key, value, bias, plan)
        output: Any = self.output
        normed: Tensor = output.LayerNorm(output.dense(mixed) + hidden)
        return normed


def _attended(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, plan: Plan | None) -> Tensor:
    """[count, tokens, width] of heads [count, heads, tokens, part]."""
    if plan is not None:
        return attend_blocks(plan, query, key, value, biased=bias).flatten(2)
    attend = nn.functional.scaled_dot_product_attention
    return attend(query, key, value, attn_mask=bias).transpose(1, 2).flatten(2)


class _Layer(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.normed = config.normed
        self.attention = _Attention(config)
        self.mlp = nn.Module()
        up, down = ("up_gated_layer", "down_layer") if self.normed else ("gated_layers", "wo")
        setattr(self.mlp, up, nn.Linear(width, 2 * inner, bias=False))
        setattr(self.mlp, down, nn.Linear(inner, width))
        self.up, self.down = up, down
        self.act = _GATES[config.gate]()
        for place in (1, 2):
            norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
            if self.normed:
                setattr(self, f"layer_norm_{place}", norm)
            elif place == 2:
                self.mlp.layernorm = norm

    def forward(self, hidden: Tensor, bias: Tensor, plan: Plan | None) -> Tensor:
        attended = self.attention(hidden, bias, plan)
        mlp: Any = self.mlp
        own: Any = self
        if self.normed:
            attended = own.layer_norm_1(hidden + attended)
        first, second = getattr(mlp, self.up)(attended).chunk(2, dim=-1)
        # The two forms have the gate in different halves.
        gate, straight = (second, first) if self.normed else (first, second)
        inner = getattr(mlp, self.down)(self.act(gate) * straight)
        last = own.layer_norm_2 if self.normed else mlp.layernorm
        normed: Tensor = last(attended + inner)
        return normed


class AlibiBertModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """The encoder, its tensors under their published names."""

    config_class = BertConfig
    base_model_prefix = "bert"
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embeddings = _Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(
            [_Layer(config) for _ in range(config.num_hidden_layers)]
        )
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        **others: Any,
    ) -> BaseModelOutput:
        """Hidden states [count, tokens, width]; places in a text are its tokens' own order."""
        plan: Plan | None = others.get(PLAN_KEYWORD)
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        hidden = self.embeddings(input_ids, types)
        if plan is not None:
            bias = plan.biased(self._bias(plan.packed.block, hidden))
        else:
            bias = self._bias(input_ids.shape[1], hidden)
            if attention_mask is not None:
                unseen = attention_mask[:, None, None, :] == 0
                bias = bias.masked_fill(unseen, torch.finfo(hidden.dtype).min)
        encoder: Any = self.encoder
        for layer in encoder.layer:
            hidden = layer(hidden, bias, plan)
        return BaseModelOutput(last_hidden_state=hidden)

    def _bias(self, tokens: int, like: Tensor) -> Tensor:
        """[1, heads, tokens, tokens]: the distance of each two tokens, times the head's slope."""
        # In float32 until the end: bfloat16 counts places one by one up to 256 only.
        place = torch.arange(tokens, device=like.device, dtype=torch.float32)
        distance = (place[:, None] - place[None, :]).abs()
        steep = torch.tensor(slopes(self.config.num_attention_heads), device=like.device)
        return (-steep[:, None, None] * distance).to(like.dtype)[None]
