"""XLM-RoBERTa as jina published it: its attention in one tensor, its places in a table or rotated.

*device* over config and tensors. With a table of places it is transformers' own `xlm-roberta`, with
rotations its `jina_embeddings_v3`. The code of a repository is not run.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor
from transformers import JinaEmbeddingsV3Config, PreTrainedConfig, XLMRobertaConfig

from sie_layouts.architectures.published import ConfigJson
from sie_server.backends.architectures.published_names import renamed

__all__ = ["flash_config", "flash_names", "rotated_names"]

_TAKEN: Final = (
    "bos_token_id", "classifier_dropout", "eos_token_id", "hidden_act", "hidden_size", "id2label",
    "intermediate_size", "label2id", "layer_norm_eps", "max_position_embeddings",
    "num_attention_heads", "num_hidden_layers", "pad_token_id", "type_vocab_size", "vocab_size",
)  # fmt: skip
_NAMES: Final = {
    "emb_ln": "embeddings.LayerNorm",
    "encoder.layers": "encoder.layer",
    "mixer.out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm2": "output.LayerNorm",
}
_ROTATED_NAMES: Final = {
    "emb_ln": "embeddings.LayerNorm",
    "encoder.layers": "layers",
    "mixer.out_proj": "self_attn.o_proj",
    "norm1": "post_attention_layernorm",
    "norm2": "post_mlp_layernorm",
}
_WHOLE: Final = "mixer.Wqkv"
_UNCHANGED: Final = ".parametrizations.weight.original"
_CHANGED: Final = ".parametrizations.weight.0."


def flash_config(config: ConfigJson) -> PreTrainedConfig:
    """The config that computes what a published config.json means."""
    given = {name: config[name] for name in _TAKEN if config.get(name) is not None}
    if config.get("position_embedding_type", "absolute") == "absolute":
        return XLMRobertaConfig(**given)
    base = float(config.get("rotary_emb_base", 10_000.0))
    return JinaEmbeddingsV3Config(
        **given, rope_parameters={"rope_type": "default", "rope_theta": base}
    )


def flash_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors by the names of transformers' own `xlm-roberta`."""
    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    return renamed(tensors, _NAMES, _WHOLE, parts)


def rotated_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same by those of its `jina_embeddings_v3`, without what tasks change.

    Where a tensor can be changed, its own name has that of the change behind it.
    """
    own = {
        name.removeprefix("roberta.").replace(_UNCHANGED, ".weight"): tensor
        for name, tensor in tensors.items()
        if _CHANGED not in name
    }
    return renamed(own, _ROTATED_NAMES, _WHOLE, [f"self_attn.{part}_proj" for part in "qkv"])
