"""The backend `cross-encoder`: one score for each pair of texts, from a torch classifier.

*device* over one sequence-classification model and its adapters. Takes token ids of pairs, with
their types where the model has any. Scores are the model's logits, or their sigmoid with the option
`activation: sigmoid`; of several labels the option `label` chooses one, else the last counts.
"""

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from sie_schemas.ipc import Answers, Loaded, RunBatch, ScoreAnswers, TokensInput
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec, load_failed, take
from sie_server.backends.class_heads import first_states, require_same, sequence_head
from sie_server.backends.encoder import Encoder
from sie_server.backends.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.model_files import backbone_of, load_model
from sie_server.backends.vector_answers import float_bytes, lengths_of, rows_as_given
from sie_server.packed.packed_attention import register
from sie_server.weights.tokenizer_file import tokenizer_file

__all__ = ["CrossEncoder", "load"]


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a classifier and probe it. Raises MODEL_LOAD_FAILED."""
    if spec.tasks.score is None or spec.tasks.encode or spec.tasks.extract:
        raise load_failed("the backend cross-encoder does `score` only")
    register()
    return CrossEncoder(spec, device)


class CrossEncoder(EncoderBackend):
    """One classifier, owned by the device's thread."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec) -> None:
        place = torch.device(device.name)
        model = load_model(spec, device, AutoModelForSequenceClassification)
        self._sigmoid = spec.profile.options.get("activation") == "sigmoid"
        self._label = _label(spec, model.config.num_labels or 1)
        self._head = sequence_head(model)
        encoder = Encoder(backbone_of(model), device=place)
        require_same(model, encoder, self._head)
        self._core = LoadedEncoder(
            spec,
            encoder,
            tokenizer_file(spec.weights.folder, device.cache_folder),
            device,
            finish=first_states,
        )

    def describe(self) -> Loaded:
        """Token ids of pairs in, one score out."""
        return self._core.describe()

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """One score for each pair, in order."""
        self._core.require(batch, "score")
        states, sequences = self._core.run(batch, take(batch, TokensInput))
        logits: Tensor = self._head(states.hidden, lengths_of(states, sequences))
        scores = logits.reshape(len(states.order), -1)[:, self._label].float()
        self._core.require_finite(scores)
        if self._sigmoid:
            scores = scores.sigmoid()
        return ScoreAnswers(float_bytes(rows_as_given(scores, states.order)))


def _label(spec: ModelSpec, labels: int) -> int:
    chosen = spec.profile.options.get("label", labels - 1)
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not 0 <= chosen < labels:
        raise load_failed(f"the option label is {chosen!r}; the model has labels 0 to {labels - 1}")
    return chosen
