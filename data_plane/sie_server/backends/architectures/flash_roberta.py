"""XLM-RoBERTa as jina published it: its attention in one tensor, its places in a table or rotated.

*device* over config and tensors. With a table of places it is transformers' own `xlm-roberta`, with
rotations its `jina_embeddings_v3`. The code of a repository is not run.
"""

from collections.abc import Mapping
from typing import Final

from torch import Tensor
from transformers import JinaEmbeddingsV3Config, PreTrainedConfig, XLMRobertaConfig

from sie_layouts.architectures.published import ConfigJson

__all__ = ["flash_config", "flash_names"]

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
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for old, new in _NAMES.items():
            name = name.replace(old, new)  # noqa: PLW2901 - a name grows into another
        if ".mixer.Wqkv." in name:
            for own, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[name.replace("mixer.Wqkv", f"attention.self.{own}")] = part.contiguous()
        else:
            found[name] = tensor
    return found
