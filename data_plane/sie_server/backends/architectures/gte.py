"""The architecture that repositories call `new`, as transformers' `gte`.

*pure.* Published as code beside its weights (`NewModel`): the gte-v1.5 family and what grew from
it, stella_en_400M_v5 among them. By itself transformers has it under another name. It reads the
tensors by their published names, but not the published config. That is written anew here, so that
no code of a repository has to run, and the model packs. Whatever that code can do and `gte` cannot
is left to the code.
"""

from collections.abc import Mapping
from typing import Any, Final

from huggingface_hub.errors import StrictDataclassError
from transformers import GteConfig

from sie_layouts.architectures.published import ConfigJson

__all__ = ["gte_config"]

_TAKEN: Final = (
    "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size",
    "intermediate_size", "layer_norm_eps", "max_position_embeddings", "num_attention_heads",
    "num_hidden_layers", "type_vocab_size", "vocab_size",
)  # fmt: skip
"""The settings that the two have in common, and that `gte` has other defaults for."""
_TAKEN_IF_THERE: Final = (
    "classifier_dropout", "id2label", "initializer_range", "label2id", "pad_token_id",
)  # fmt: skip
_ALIKE: Final[Mapping[str, Any]] = {
    "layer_norm_type": "layer_norm",
    "logn_attention_scale": False,
    "pack_qkv": True,
    "position_embedding_type": "rope",
}
"""The settings that have to be so, or absent, for the two to compute the same."""


def gte_config(config: ConfigJson) -> GteConfig | None:
    """The config of `gte` that computes what a `config.json` of `new` means.

    None where it is of another architecture, or means what `gte` does not do.
    """
    published = config.get("model_type") == "new" or (
        # Some call it by the name that transformers gave it later, with the keys of the code.
        config.get("model_type") == "gte" and "layer_norm_type" in config
    )
    if not published or any(name not in config for name in _TAKEN):
        return None
    if any(config.get(name, value) != value for name, value in _ALIKE.items()):
        return None
    given = {name: config[name] for name in (*_TAKEN, *_TAKEN_IF_THERE) if name in config}
    try:
        found = GteConfig(**given)
    except StrictDataclassError:
        return None
    rope = _rope(config, width=found.hidden_size // found.num_attention_heads)
    return None if rope is None else GteConfig(**given, rope_parameters=rope)


def _rope(config: ConfigJson, *, width: int) -> dict[str, Any] | None:
    """Its rotations: plain ones, or those of a longer context (https://kexue.fm/archives/9706).

    There each frequency is that of a base `factor` times as large, over `factor ** (2 / width)`.
    The second part is what transformers calls linear scaling.
    """
    theta, scaling = config.get("rope_theta"), config.get("rope_scaling")
    if not isinstance(theta, int | float) or theta <= 0:
        return None
    if scaling is None:
        return {"rope_type": "default", "rope_theta": float(theta)}
    if not isinstance(scaling, Mapping) or scaling.get("type") != "ntk" or scaling.get("mixed_b"):
        return None
    factor = scaling.get("factor")
    if not isinstance(factor, int | float) or factor < 1:
        return None
    return {
        "rope_type": "linear",
        "rope_theta": float(theta) * factor,
        "factor": factor ** (2 / width),
    }
