"""The steps behind a model's input, run over a batch: from states of flat tokens to vectors.

*device.* Each step reads one feature and writes one, as its layout names them: rows of tokens, or
one row for each sequence. Everything is float32 whatever the model's type.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from sie_layouts.steps import (
    AutoEncoderStep,
    DenseStep,
    LayerNormStep,
    NormalizeStep,
    PoolingStep,
    SpladeStep,
    Step,
)
from sie_server.failures import load_failed
from sie_server.vectors.layer_files import auto_encoder, dense_layer, layer_norm
from sie_server.vectors.pooling import pool
from sie_server.weights.sources import Weights

__all__ = ["Scores", "VectorSteps", "ended"]

Scores = Callable[[Tensor], Tensor]
"""Hidden states [tokens, width] to scores of the vocabulary [tokens, vocabulary]."""

_TOKENS: Final = "token_embeddings"
_VECTOR: Final = "sentence_embedding"
_SCORED_TOKENS_MAX: Final = 256
"""Tokens whose vocabulary scores are made at once: each has tens of thousands of numbers."""


def ended(steps: tuple[Step, ...], *, unit: bool) -> tuple[Step, ...]:
    """The steps with their end as a profile has it: vectors of unit length, or as they come."""
    if unit == (bool(steps) and isinstance(steps[-1], NormalizeStep)):
        return steps
    return (*steps, NormalizeStep()) if unit else steps[:-1]


@dataclass(slots=True)
class _Features:
    """The rows so far, by their names."""

    rows: dict[str, Tensor]
    lengths: Sequence[int]
    skips: Sequence[int]


_Run = Callable[[_Features], None]


class VectorSteps:
    """The steps of one model, their small layers read once."""

    def __init__(
        self,
        steps: Sequence[Step],
        weights: Weights,
        device: torch.device,
        *,
        scores: Scores | None = None,
        kept: int | None = None,
    ) -> None:
        self._runs = [_runner(step, weights, device, scores) for step in steps]
        self._ends_in_unit = bool(steps) and steps[-1] == NormalizeStep()
        self._kept = kept
        self.skips_prompts = any(
            isinstance(step, PoolingStep) and not step.include_prompt for step in steps
        )

    @torch.inference_mode()
    def __call__(
        self,
        hidden: Tensor,
        lengths: Sequence[int],
        skips: Sequence[int] = (),
        *,
        unit: bool | None = None,
    ) -> Tensor:
        """Vectors [sequences, width] of tokens laid end to end, in their order.

        `unit` says whether they have length 1; None leaves it to the steps.
        """
        return self._ended(_Features({_TOKENS: hidden}, lengths, skips), unit)

    @torch.inference_mode()
    def of_vectors(self, vectors: Tensor, *, unit: bool | None = None) -> Tensor:
        """Vectors of vectors, where the input makes one for each text by itself."""
        return self._ended(_Features({_VECTOR: vectors}, (), ()), unit)

    @torch.inference_mode()
    def of_tokens(self, hidden: Tensor) -> Tensor:
        """A row for each token, of steps that make no others."""
        features = _Features({_TOKENS: hidden}, (), ())
        for run in self._runs:
            run(features)
        return features.rows[_TOKENS]

    def _ended(self, features: _Features, unit: bool | None) -> Tensor:
        for run in self._runs[:-1] if unit is False and self._ends_in_unit else self._runs:
            run(features)
        vectors = features.rows[_VECTOR]
        # Cut before it is made a unit: what is left of one is shorter.
        vectors = vectors if self._kept is None else vectors[:, : self._kept]
        return nn.functional.normalize(vectors.float(), dim=-1) if unit else vectors


def _runner(step: Step, weights: Weights, device: torch.device, scores: Scores | None) -> _Run:
    match step:
        case PoolingStep():
            return _pooling(step)
        case SpladeStep() if scores is not None:
            return _splade(step, scores)
        case DenseStep():
            return _layer(dense_layer(weights, step, device), step.source, step.target)
        case LayerNormStep():
            return _layer(layer_norm(weights, step, device), _VECTOR, _VECTOR)
        case AutoEncoderStep():
            return _layer(auto_encoder(weights, step, device), _VECTOR, _VECTOR)
        case NormalizeStep():
            return _normalize(step)
        case _:
            raise load_failed(f"a step {type(step).__name__} follows none that feeds it")


def _pooling(step: PoolingStep) -> _Run:
    def run(features: _Features) -> None:
        states, lengths = features.rows[_TOKENS], features.lengths
        skips = () if step.include_prompt else features.skips
        parts = [pool(states, lengths, mode, skips=skips) for mode in step.modes]
        features.rows[_VECTOR] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    return run


def _layer(layer: Callable[[Tensor], Tensor], source: str, target: str) -> _Run:
    def run(features: _Features) -> None:
        features.rows[target] = layer(features.rows[source].float())

    return run


def _normalize(step: NormalizeStep) -> _Run:
    def run(features: _Features) -> None:
        # As the reference does: nothing to normalise is nothing done.
        if (rows := features.rows.get(step.source)) is not None:
            features.rows[step.target] = nn.functional.normalize(rows.float(), dim=-1)

    return run


def _splade(step: SpladeStep, scores: Scores) -> _Run:
    strongest = step.pooling == "max"

    def of_text(states: Tensor) -> Tensor:
        found: Tensor | None = None
        for part in torch.split(states, _SCORED_TOKENS_MAX):
            made = scores(part)
            # The maximum first: log(1 + relu) is monotone, and there is one row left to do it on.
            row = made.amax(dim=0).float() if strongest else _weight(made.float(), step).sum(dim=0)
            if found is None:
                found = row
            else:
                found = torch.maximum(found, row) if strongest else found + row
        assert found is not None
        return _weight(found, step) if strongest else found

    def run(features: _Features) -> None:
        texts = torch.split(features.rows[_TOKENS], list(features.lengths))
        features.rows[_VECTOR] = torch.stack([of_text(states) for states in texts])

    return run


def _weight(scores: Tensor, step: SpladeStep) -> Tensor:
    weights = scores.relu().log1p()
    return weights.log1p() if step.activation == "log1p_relu" else weights
