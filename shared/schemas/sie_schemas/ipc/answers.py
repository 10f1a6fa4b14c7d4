"""Answers of a batch: those of all its inputs in one value, in the order of the inputs.

*types.* Arrays travel as raw little-endian bytes, one for a batch and not one for each input.
"""

from typing import Any, TypeAlias

from msgspec import Struct

__all__ = [
    "Answers",
    "ClassAnswers",
    "DenseAnswers",
    "EncodeAnswers",
    "EntityAnswers",
    "MultivectorAnswers",
    "ScoreAnswers",
    "SparseAnswers",
]


class DenseAnswers(Struct, frozen=True, tag="dense"):
    """One vector for each input: `values` is a C-order little-endian float32 [inputs, dim]."""

    dim: int
    values: bytes


class SparseAnswers(Struct, frozen=True, tag="sparse"):
    """Weights of vocabulary entries, the inputs' one behind the other.

    `counts` (int32) says how many belong to each input; `indices` (int32) ascend within an input,
    `values` are float32. All little-endian.
    """

    counts: bytes
    indices: bytes
    values: bytes


class MultivectorAnswers(Struct, frozen=True, tag="multivector"):
    """A vector for each token: `counts` (int32) tokens for each input, `values` float32 rows."""

    dim: int
    counts: bytes
    values: bytes


class EncodeAnswers(Struct, frozen=True, tag="encoded", omit_defaults=True):
    """Several outputs of `encode` for the same inputs; those that were not asked for are None."""

    dense: DenseAnswers | None = None
    sparse: SparseAnswers | None = None
    multivector: MultivectorAnswers | None = None


class ScoreAnswers(Struct, frozen=True, tag="scores", omit_defaults=True):
    """Numbers of each input, little-endian float32: one score, as the model's authors give it.

    `relevance` is the probability that the model itself gives, or lies between 0 and 1 as one does.
    `logits` is what the score was made of. Empty: the score is a logit. `tokens`, here and below:
    the tokens that were read of each input, where the backend tokenizes.
    """

    values: bytes
    relevance: bytes = b""
    logits: bytes = b""
    tokens: tuple[int, ...] = ()


class EntityAnswers(Struct, frozen=True, tag="entities", omit_defaults=True):
    """For each input a list of `{text, label, score, start, end}` (offsets in characters, or in
    the unit that the option `offset_unit` names)."""

    entities: tuple[tuple[dict[str, Any], ...], ...]
    tokens: tuple[int, ...] = ()


class ClassAnswers(Struct, frozen=True, tag="classes", omit_defaults=True):
    """For each input a list of `{label, score}`, the highest score first."""

    classes: tuple[tuple[dict[str, Any], ...], ...]
    tokens: tuple[int, ...] = ()


Answers: TypeAlias = DenseAnswers | EncodeAnswers | ScoreAnswers | EntityAnswers | ClassAnswers
