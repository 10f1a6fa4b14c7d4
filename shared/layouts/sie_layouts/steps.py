"""Steps: how a text becomes a vector, one thing after the other.

*types.* A tagged union. A step reads one feature and writes one. `token_embeddings` holds a row for
each token, `sentence_embedding` one for each text; a `DenseStep` may use names of its own. Names of
files are relative to the model's folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = [
    "AutoEncoderStep",
    "DenseStep",
    "LayerNormStep",
    "NormalizeStep",
    "PoolingMode",
    "PoolingStep",
    "SpladeStep",
    "StaticStep",
    "Step",
    "TaskLayout",
    "TextLayout",
    "TokenWeightsStep",
    "TransformerStep",
]

PoolingMode: TypeAlias = Literal["cls", "max", "mean", "mean_sqrt_len", "weighted_mean", "last"]


@dataclass(frozen=True, slots=True)
class TextLayout:
    """The way in which a text becomes token ids."""

    tokens_max: int | None
    """Tokens, special ones included, after which a text is cut; None where no file limits it."""
    capped_by_positions: bool = True
    """True if the model's positions limit it too, whatever `tokens_max` is."""
    tokens_usual: int | None = None
    """The length at which the authors' library cuts where its caller names none; a profile may."""
    truncation_side: Literal["left", "right"] = "right"
    lowercase: bool = False
    special_tokens: bool = True
    marks: tuple[str, ...] = ()
    """Beginnings of texts that are one token each, where the vocabulary has them."""
    ends: bool = False
    """True if `eos_token` is put behind each text, and nothing else, whatever tokenizer.json says.
    """
    tokenizer_options: Mapping[str, Any] = field(default_factory=dict)
    """Options that the layout gives to the tokenizer's loading."""


@dataclass(frozen=True, slots=True)
class TaskLayout:
    """The tasks of a model that holds a low-rank change of its weights for each."""

    words: Mapping[str, str]
    """The words before a text of each task, in the order of the weights."""
    scale: float
    """The factor of each product."""
    sides: Mapping[str, str] = field(default_factory=dict)
    """The task of a `query` and of a `document`, where a request names none."""


@dataclass(frozen=True, slots=True)
class TransformerStep:
    """A transformer, from `folder` ("" for the model's own): it writes `token_embeddings`."""

    folder: str
    head: Literal["none", "masked_language"]
    text: TextLayout
    config_options: Mapping[str, Any] = field(default_factory=dict)
    """Values that replace those of its config.json."""
    tasks: TaskLayout | None = None


@dataclass(frozen=True, slots=True)
class StaticStep:
    """One vector for each token of a vocabulary, and the mean of a text's: `sentence_embedding`."""

    folder: str
    text: TextLayout
    file: str


@dataclass(frozen=True, slots=True)
class TokenWeightsStep:
    """One weight for each token of a vocabulary, and those of a text's tokens: sparse."""

    folder: str
    text: TextLayout
    file: str


@dataclass(frozen=True, slots=True)
class PoolingStep:
    """From `token_embeddings` to `sentence_embedding`; of several modes one behind the other."""

    modes: tuple[PoolingMode, ...]
    width: int
    include_prompt: bool = True


@dataclass(frozen=True, slots=True)
class DenseStep:
    """A linear layer and an activation, row by row."""

    file: str
    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Tanh"
    """The class of `torch.nn`, which takes no arguments."""
    residual: bool = False
    source: str = "sentence_embedding"
    target: str = "sentence_embedding"
    beside: bool = False
    """True if the file holds the model's own weights too; they say the layer's shape."""


@dataclass(frozen=True, slots=True)
class NormalizeStep:
    """Each row to unit length."""

    source: str = "sentence_embedding"
    target: str = "sentence_embedding"


@dataclass(frozen=True, slots=True)
class LayerNormStep:
    """A layer normalisation of `sentence_embedding`."""

    file: str
    width: int


@dataclass(frozen=True, slots=True)
class SpladeStep:
    """From a vocabulary's scores of each token to its weights for the text."""

    pooling: Literal["max", "sum"] = "max"
    activation: Literal["relu", "log1p_relu"] = "relu"


@dataclass(frozen=True, slots=True)
class AutoEncoderStep:
    """The `kept` greatest of `width` latent weights of a dense vector: sparse."""

    file: str
    in_features: int
    width: int
    kept: int
    normalize: bool


Step: TypeAlias = (
    TransformerStep
    | StaticStep
    | TokenWeightsStep
    | PoolingStep
    | DenseStep
    | NormalizeStep
    | LayerNormStep
    | SpladeStep
    | AutoEncoderStep
)
