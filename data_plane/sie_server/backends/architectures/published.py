"""The architecture of a config.json that repositories publish as code beside their weights.

*device* over transformers' classes and ours. `architecture_of` gives what computes the same without
that code. That is a config, and where transformers has no class of its own or reads no such names,
the class and the tensors' names. What it leaves out is of no form that is known here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    JinaEmbeddingsV3Model,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

from sie_layouts.architectures.published import ConfigJson, published_form
from sie_server.backends.architectures.alibi_bert import AlibiBertModel, alibi_config
from sie_server.backends.architectures.flash_roberta import (
    flash_config,
    flash_names,
    rotated_names,
)
from sie_server.backends.architectures.gte import gte_config
from sie_server.backends.architectures.nomic import NomicExpertsModel, nomic_config, nomic_names

__all__ = ["Architecture", "Tensors", "architecture_of"]

Tensors: TypeAlias = Mapping[str, Tensor]
_NOT_OF_CONFIG: Final = frozenset(
    {"architectures", "auto_map", "model_type", "transformers_version"}
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A config and, where tensors are brought to other names, the classes that take them."""

    config_of: Callable[[Tensors], PreTrainedConfig]
    """Of the file's tensors, which may show the form; most look at none."""
    family: str
    """The name by which a type of numbers is chosen for it."""
    classes: Mapping[Any, type[Any]] | None = None
    """By transformers' Auto class; None: that class itself, which knows the published names."""
    named: Callable[[Tensors], Tensors] = dict
    kinds: tuple[Any, ...] = (AutoModel,)
    """The Auto classes for which it is known; others are refused."""


def architecture_of(config: ConfigJson) -> Architecture | None:
    """The architecture of a published config; None where transformers knows it, or nobody here."""
    gte = gte_config(config)
    if gte is not None:
        kinds = (AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification)
        return Architecture(lambda _: gte, "gte", kinds=kinds)
    match published_form(config):
        case "alibi_bert":
            return Architecture(
                lambda tensors: alibi_config(config, tensors),
                "alibi_bert",
                {AutoModel: AlibiBertModel},
                _without_heads,
            )
        case "both_ways_llama":
            llama = {name: each for name, each in config.items() if name not in _NOT_OF_CONFIG}
            return Architecture(
                lambda _: LlamaConfig.from_dict({**llama, "is_causal": False}), "llama"
            )
        case "flash_roberta":
            return _flash(config)
        case "gritlm":
            # Its window is that of texts which it continues.
            both_ways = {"is_causal": False, "sliding_window": None}
            mistral = {name: each for name, each in config.items() if name not in _NOT_OF_CONFIG}
            return Architecture(
                lambda _: MistralConfig.from_dict({**mistral, **both_ways}), "mistral"
            )
        case "nomic_bert":
            return _nomic(config)
    return None


def _flash(config: ConfigJson) -> Architecture:
    if config.get("position_embedding_type", "absolute") != "absolute":
        return Architecture(
            lambda _: flash_config(config),
            "jina_embeddings_v3",
            {AutoModel: JinaEmbeddingsV3Model},
            rotated_names,
        )
    classes = {
        AutoModel: XLMRobertaModel,
        AutoModelForSequenceClassification: XLMRobertaForSequenceClassification,
    }
    return Architecture(
        lambda _: flash_config(config), "xlm-roberta", classes, flash_names, tuple(classes)
    )


def _nomic(config: ConfigJson) -> Architecture:
    if config.get("activation_function") == "swiglu":
        return Architecture(lambda _: nomic_config(config), "nomic_bert")
    return Architecture(
        lambda _: nomic_config(config),
        "nomic_experts",
        {AutoModel: NomicExpertsModel},
        nomic_names,
    )


def _without_heads(tensors: Tensors) -> Tensors:
    """Without the language model's own head and the pooler, which some files have beside it."""
    return {
        name: tensor for name, tensor in tensors.items() if not name.startswith(("cls.", "pooler."))
    }
