"""NomicBERT as published: plain and gated, with experts or without.

*device.* Without experts it is transformers' own `nomic_bert` under another config. With biases and
experts (nomic-embed-text-v2-moe) that class's attention is kept, and its layers' second half is
ours. Each token goes through the few experts that a router likes best, weighed by its softmax.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import NomicBertConfig, NomicBertModel

from sie_layouts.architectures.published import ConfigJson
from sie_server.backends.architectures.published_names import renamed

__all__ = ["NomicExpertsModel", "nomic_config", "nomic_names"]

_NAMES: Final = {
    "encoder.layers": "layers",
    "emb_ln": "embeddings.LayerNorm",
    "attn.out_proj": "self_attn.o_proj",
    "norm1": "post_attention_layernorm",
    "norm2": "post_mlp_layernorm",
}
_PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj")


def nomic_config(config: ConfigJson) -> NomicBertConfig:
    """The config of a published config.json; with `num_experts` where it has biases.

    0 experts is the form with biases and without any.
    """
    given: dict[str, Any] = {
        "hidden_size": config["n_embd"],
        "num_hidden_layers": config["n_layer"],
        "num_attention_heads": config["n_head"],
        "intermediate_size": config["n_inner"],
        "vocab_size": config["vocab_size"],
        "layer_norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "max_position_embeddings": config.get("n_positions", 2048),
        "type_vocab_size": config.get("type_vocab_size", 2),
        "pad_token_id": config.get("pad_token_id") or 0,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(config.get("rotary_emb_base", 10_000)),
        },
    }
    if config.get("activation_function") == "swiglu":
        return NomicBertConfig(**given, hidden_act="silu")
    found = NomicBertConfig(**given, hidden_act="gelu")
    experts = ("moe_every_n_layers", "moe_top_k", "num_experts")
    found.update({name: int(config.get(name) or 0) for name in experts})
    return found


def nomic_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors by the names of `NomicExpertsModel`."""
    return renamed(tensors, _NAMES, "attn.Wqkv", [f"self_attn.{own}" for own in _PROJECTIONS])


class _Plain(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(hidden)))
        return out


class _Experts(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        width, rows = config.hidden_size, config.num_experts * config.intermediate_size
        self.count, self.chosen = config.num_experts, config.moe_top_k
        self.router = nn.Module()
        self.router.layer = nn.Linear(width, config.num_experts, bias=False)
        self.experts = nn.Module()
        self.experts.mlp = nn.Module()
        self.experts.mlp.w1 = nn.Parameter(torch.zeros(rows, width))
        self.experts.mlp.w2 = nn.Parameter(torch.zeros(rows, width))
        self.experts.bias = nn.Parameter(torch.zeros(width))

    def forward(self, hidden: Tensor) -> Tensor:
        own: Any = self
        rows = hidden.flatten(0, -2)
        likings = own.router.layer(rows).softmax(-1, dtype=torch.float32)
        weights, chosen = likings.topk(self.chosen)
        weights = weights.to(rows.dtype)
        mixed = torch.zeros_like(rows)
        first = own.experts.mlp.w1.chunk(self.count)
        second = own.experts.mlp.w2.chunk(self.count)
        for number in range(self.count):
            places, ranks = (chosen == number).nonzero(as_tuple=True)
            if len(places):
                inner = nn.functional.gelu(rows[places] @ first[number].T) @ second[number]
                mixed.index_add_(0, places, inner * weights[places, ranks, None])
        out: Tensor = (mixed + own.experts.bias).view_as(hidden)
        return out


class NomicExpertsModel(NomicBertModel):  # type: ignore[no-untyped-call]
    """The encoder with biases; layers that have experts are every n-th, the second first."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        every = config.moe_every_n_layers
        layers: Any = self.layers
        for place, layer in enumerate(layers):
            layer.mlp = _Experts(config) if every and place % every == 1 else _Plain(config)
            for name in (*_PROJECTIONS, "o_proj"):
                bare = getattr(layer.self_attn, name)
                with_bias = nn.Linear(bare.in_features, bare.out_features)
                setattr(layer.self_attn, name, with_bias)
