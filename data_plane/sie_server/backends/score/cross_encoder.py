"""The backend `cross-encoder`: one score for each pair of texts, from a torch model.

*device* over one sequence-classification model and its adapters; of decoders, see `decoder`. Takes
token ids of pairs, with their types where the model has any. Scores are those of
sentence-transformers' CrossEncoder on the same files. The activation is the folder's, or that
library's default, unless the option `activation` names another. Of several labels the option
`label` chooses one, else the last counts.
"""

from typing import Final

import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from sie_layouts.folder import FolderFiles
from sie_layouts.score import ScoreLayout, read_score
from sie_schemas.ipc import Answers, Loaded, RunBatch, TokensInput
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    load_failed,
    require_only,
    take,
)
from sie_server.backends.forward.encoder import Encoder
from sie_server.backends.forward.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.heads.class_heads import first_states, require_same, sequence_head
from sie_server.backends.heads.vector_answers import rows_as_given
from sie_server.backends.model_files import backbone_of, load_model
from sie_server.backends.score.activations import chosen_activation, judge, score_answers
from sie_server.backends.score.decoder import DecoderReranker
from sie_server.packed.packed_attention import register
from sie_server.weights.tokenizer_file import (
    tokenizer_file,
    tokenizer_gives_types,
)

__all__ = ["CrossEncoder", "load"]

_OF_SIDES: Final = frozenset({"doc_template", "query_template"})
_OF_DECODERS: Final = frozenset({"no_token", "pair_template", "temperature", "yes_token"})


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a classifier and probe it. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "score")
    register()
    layout = _layout(spec)
    if layout.model == "decoder":
        for name in _OF_SIDES & spec.profile.options.keys():
            raise load_failed(f"the option {name} is for one text; of a decoder, pair_template is")
        return DecoderReranker(spec, device, layout)
    for name in _OF_DECODERS & spec.profile.options.keys():
        raise load_failed(f"the option {name} is for decoders, and this model is a classifier")
    return CrossEncoder(spec, device, layout)


class CrossEncoder(EncoderBackend):
    """One classifier, owned by the device's thread."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec, layout: ScoreLayout) -> None:
        place = torch.device(device.name)
        model = load_model(spec, device, AutoModelForSequenceClassification)
        labels = model.config.num_labels or 1
        self._layout = layout
        self._activation = chosen_activation(spec, layout.activation) or (
            "Sigmoid" if labels == 1 else "Identity"
        )
        self._label = _label(spec, labels)
        self._head = sequence_head(model)
        encoder = Encoder(backbone_of(model), device=place)
        require_same(model, encoder, self._head)
        tokenizer = tokenizer_file(spec.weights.folder, device.cache_folder, layout.text)
        self._core = LoadedEncoder(
            spec,
            encoder,
            tokenizer,
            device,
            finish=first_states,
            text=layout.text,
            takes_types=tokenizer_gives_types(spec.weights.folder),
            whole=model,
        )

    def describe(self) -> Loaded:
        """Token ids of pairs in, one score out."""
        return replace(
            self._core.describe(),
            instruction=self._layout.prompt,
        )

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """One score for each pair, in order."""
        self._core.require(batch, "score")
        states, sequences = self._core.run(batch, take(batch, TokensInput))
        logits: Tensor = self._head(states, sequences)
        self._core.require_finite(logits)
        given = rows_as_given(logits.reshape(len(states.order), -1), states.order)
        return score_answers(judge(given, self._activation, self._label))


def _layout(spec: ModelSpec) -> ScoreLayout:
    reading = read_score(FolderFiles(spec.weights.folder))
    if reading.layout is None:
        raise load_failed("; ".join(map(str, reading.refusals)))
    return reading.layout


def _label(spec: ModelSpec, labels: int) -> int:
    chosen = spec.profile.options.get("label", labels - 1)
    if isinstance(chosen, bool) or not isinstance(chosen, int) or not 0 <= chosen < labels:
        raise load_failed(f"the option label is {chosen!r}; the model has labels 0 to {labels - 1}")
    return chosen
