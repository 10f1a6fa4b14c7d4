"""Shapes of models with random weights: what they cost, and their files on a disk.

*device.* Weights are drawn, since speed does not depend on them. Vocabularies are words that are
one token each, so that a text has the length that was drawn for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaModel,
)

__all__ = ["SHAPES", "Shape", "load", "save", "texts", "tiny"]

_VOCABULARY: Final = 30_000
"""About BERT's; a shape with a larger one says so."""
_MODELS: Final[Mapping[str, Any]] = {
    "bert": BertModel,
    "xlm-roberta": XLMRobertaModel,
    "qwen3": Qwen3Model,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's size: width, layers, heads, inner width. XLM-R counts positions from 2."""

    width: int
    layers: int
    heads: int
    inner: int
    family: str = "bert"
    key_heads: int = 0
    """Heads of keys and values, of a decoder whose queries share them."""
    head_width: int = 0
    vocabulary: int = _VOCABULARY

    def flops(self, lengths: Sequence[int]) -> float:
        """Useful multiplications and additions of a set of texts."""
        heads, each = self.heads, self.head_width or self.width // self.heads
        asked, shared = heads * each, 2 * (self.key_heads or heads) * each
        products = self.width * (2 * asked + shared)
        products += (3 if self.is_decoder else 2) * self.width * self.inner
        attention = 4 * self.layers * asked * sum(length**2 for length in lengths)
        if self.is_decoder:
            # A token looks at those before it alone.
            attention /= 2
        return float(2 * self.layers * products * sum(lengths) + attention)

    @property
    def is_decoder(self) -> bool:
        """True if a token sees only what stands before it."""
        return self.family == "qwen3"

    @property
    def projections(self) -> list[str]:
        """The layers that an adapter of rank 8 is on."""
        return ["q_proj", "v_proj"] if self.is_decoder else ["query", "value"]


SHAPES: Final[Mapping[str, Shape]] = {
    "minilm": Shape(384, 6, 12, 1536),
    "bert-base": Shape(768, 12, 12, 3072),
    "xlm-r-large": Shape(1024, 24, 16, 4096, "xlm-roberta"),
    "qwen3-0.6b": Shape(1024, 28, 16, 3072, "qwen3", key_heads=8, head_width=128),
}


def tiny(shape: Shape) -> Shape:
    """The same family, so small that a processor runs it at once."""
    small = replace(shape, width=32, layers=2, heads=4, inner=64, vocabulary=500)
    return replace(small, key_heads=2, head_width=8) if shape.is_decoder else small


def save(shape: Shape, folder: Path) -> None:
    """Write a model of this shape, and its tokenizer."""
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_position_embeddings": 514,
    }
    pad = int(shape.family == "xlm-roberta")
    configs: Mapping[str, Any] = {
        "bert": lambda: BertConfig(**sizes),
        "xlm-roberta": lambda: XLMRobertaConfig(**sizes, pad_token_id=1),
        "qwen3": lambda: Qwen3Config(
            **sizes,
            num_key_value_heads=shape.key_heads,
            head_dim=shape.head_width,
            pad_token_id=0,
        ),
    }
    torch.manual_seed(0)
    _MODELS[shape.family](configs[shape.family]()).save_pretrained(folder)
    words = {"<pad>": pad, "<unk>": 1 - pad}
    words |= {f"w{number}": number for number in range(2, shape.vocabulary)}
    native = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    native.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast
    make(
        tokenizer_object=native, pad_token="<pad>", unk_token="<unk>", model_max_length=512
    ).save_pretrained(folder)


def load(folder: Path, shape: Shape, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The model in one precision on one device."""
    loaded: Any = _MODELS[shape.family].from_pretrained(folder, dtype=dtype, local_files_only=True)
    model: PreTrainedModel = loaded.to(device).eval().requires_grad_(False)
    return model


def texts(count: int, *, seed: int, vocabulary: int = _VOCABULARY) -> list[str]:
    """Texts of 8 to 256 tokens, lognormal about 46; other ones for each seed."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(np.exp(generator.normal(np.log(46), 0.7, count)).round(), 8, 256).astype(int)
    return [
        " ".join(f"w{number}" for number in generator.integers(2, vocabulary, size))
        for size in lengths
    ]
