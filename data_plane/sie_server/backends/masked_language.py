"""Sparse vectors from a masked-language model: weights of the whole vocabulary (SPLADE).

*device* over one torch model and its adapters; the part of the backend `transformer` that is chosen
where `sparse` is the only output and the folder has no small head for it.
"""

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoModelForMaskedLM

from sie_schemas.ipc import Answers, EncodeAnswers, Loaded, RunBatch, TokensInput
from sie_server.backends import encode_heads
from sie_server.backends.backend import DeviceSpec, ModelSpec, take
from sie_server.backends.encoder import Encoder, Sequences, States
from sie_server.backends.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.model_files import backbone_of, load_model
from sie_server.backends.sentence_layout import SentenceLayout
from sie_server.backends.vector_answers import lengths_of, rows_as_given, sparse_answers
from sie_server.weights.tokenizer_file import TokenizerFile

__all__ = ["MaskedLanguageBackend"]


class MaskedLanguageBackend(EncoderBackend):
    """One masked-language model that weighs the vocabulary (SPLADE)."""

    def __init__(
        self,
        spec: ModelSpec,
        device: DeviceSpec,
        layout: SentenceLayout,
        tokenizer: TokenizerFile,
    ) -> None:
        place = torch.device(device.name)
        model = load_model(spec, device, AutoModelForMaskedLM)
        self._layout = layout
        self._model = model
        self._place = place
        self._head = encode_heads.masked_language_head(model)
        self._core = LoadedEncoder(
            spec,
            Encoder(backbone_of(model), device=place),
            tokenizer,
            device,
            finish=self._weights,
            tokens_max=layout.tokens_max,
            reference=self._alone,
        )

    def describe(self) -> Loaded:
        """Token ids in, weights of the vocabulary out."""
        dims = {"sparse": self._core.limits.vocabulary}
        return replace(self._core.describe(), prompts=dict(self._layout.prompts), dims=dims)

    def run(self, batch: RunBatch) -> Answers:
        """Sparse vectors in the order of the inputs."""
        self._core.require(batch, "encode", {"sparse"})
        states, sequences = self._core.run(batch, take(batch, TokensInput))
        weights = self._weights(states, sequences)
        self._core.require_finite(weights)
        rows = weights.cpu().numpy()
        places = [np.flatnonzero(row) for row in rows]
        return EncodeAnswers(
            sparse=sparse_answers(
                [
                    (place.astype(np.int32), row[place])
                    for place, row in zip(places, rows, strict=True)
                ]
            )
        )

    @torch.inference_mode()
    def _weights(self, states: States, sequences: Sequences) -> Tensor:
        lengths = lengths_of(states, sequences)
        packed = encode_heads.masked_language(self._head, states.hidden, lengths)
        return rows_as_given(packed, states.order)

    @torch.inference_mode()
    def _alone(self, text: Tensor) -> Tensor:
        logits: Tensor = self._model(input_ids=text.to(self._place)[None]).logits
        return logits.float().relu().log1p().amax(dim=1)
