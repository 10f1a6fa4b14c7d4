"""Sparse vectors from a masked-language model: weights of the whole vocabulary (SPLADE).

*device* over one torch model and its adapters. The backend `transformer` chooses it where `sparse`
is the only output and the folder has no small head for it.
"""

import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoModelForMaskedLM

from sie_layouts.layout import SentenceLayout
from sie_layouts.steps import TransformerStep
from sie_schemas.ipc import Answers, EncodeAnswers, Loaded, RunBatch, TokensInput
from sie_server.backends.backend import DeviceSpec, ModelSpec, take, unit_length
from sie_server.backends.encode.folder_layout import told_prompts
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.backends.forward.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.heads import encode_heads
from sie_server.backends.heads.vector_answers import lengths_of, rows_as_given, sparse_rows
from sie_server.backends.model_files import backbone_of, load_model
from sie_server.vectors.steps import VectorSteps
from sie_server.weights.sources import Weights
from sie_server.weights.tokenizer_file import TokenizerFile

__all__ = ["MaskedLanguageBackend"]


class MaskedLanguageBackend(EncoderBackend):
    """One masked-language model that weighs the vocabulary (SPLADE)."""

    def __init__(
        self,
        spec: ModelSpec,
        device: DeviceSpec,
        layout: SentenceLayout,
        step: TransformerStep,
        tokenizer: TokenizerFile,
        layers: Weights,
    ) -> None:
        place = torch.device(device.name)
        model = load_model(spec, device, AutoModelForMaskedLM, config_options=step.config_options)
        self._layout = layout
        self._model = model
        self._place = place
        head = encode_heads.masked_language_head(model)
        self._steps = VectorSteps(layout.document[1:], layers, place, scores=head)
        # The reference of the probe: the model's own scores, through the same steps.
        self._own = VectorSteps(layout.document[1:], layers, place, scores=lambda made: made)
        self._core = LoadedEncoder(
            spec,
            Encoder(backbone_of(model), device=place),
            tokenizer,
            device,
            finish=self._weights,
            text=step.text,
            reference=self._alone,
        )

    def describe(self) -> Loaded:
        """Token ids in, weights of the vocabulary out."""
        dims = {"sparse": self._core.limits.vocabulary}
        return replace(self._core.describe(), prompts=told_prompts(self._layout), dims=dims)

    def run(self, batch: RunBatch) -> Answers:
        """Sparse vectors in the order of the inputs."""
        self._core.require(batch, "encode", {"sparse"})
        unit_length(batch, self._core.spec.model_id, {"sparse"})
        states, sequences = self._core.run(batch, take(batch, TokensInput))
        weights = self._weights(states, sequences)
        self._core.require_finite(weights)
        return EncodeAnswers(sparse=sparse_rows(weights, self._layout.kept))

    @torch.inference_mode()
    def _weights(self, states: States, sequences: Sequences) -> Tensor:
        packed = self._steps(states.hidden, lengths_of(states, sequences))
        return rows_as_given(packed, states.order)

    @torch.inference_mode()
    def _alone(self, text: Tensor) -> Tensor:
        logits: Tensor = self._model(input_ids=text.to(self._place)[None]).logits
        return self._own(logits[0], [len(text)])
