"""The backend `token-classification`: entities from a torch classifier of tokens.

*device* over one model, its tokenizer and its adapters. Takes texts and tokenizes them itself: an
entity's place is told in characters of the text, or in the unit that the request names. A text
longer than the model reads is read in windows that overlap. Asking for a label that the model does
not have is an error, not an empty answer.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForTokenClassification

from sie_schemas.ipc import Answers, EntityAnswers, Loaded, RunBatch, TextInput
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec, require_only, take
from sie_server.backends.extraction.characters import placed
from sie_server.backends.extraction.labels import FixedLabels
from sie_server.backends.extraction.options import ENTITIES, chosen
from sie_server.backends.extraction.spans import Token, spans
from sie_server.backends.extraction.tags import read_tags
from sie_server.backends.extraction.windows import TextTokens, Window
from sie_server.backends.forward.encoder import Encoder
from sie_server.backends.forward.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.forward.token_inputs import token_input
from sie_server.backends.heads.class_heads import first_states, require_same, token_head
from sie_server.backends.heads.vector_answers import as_given, lengths_of
from sie_server.backends.model_files import backbone_of, label_names, load_model
from sie_server.packed.packed_attention import register
from sie_server.weights.tokenizer_file import read_tokenizer, tokenizer_file

__all__ = ["TokenClassifier", "load"]

_WINDOWS_AT_ONCE: Final = 64
"""The hidden states of more are not held together."""
_BLANK_MARK: Final = "\u2581"
"""SentencePiece's mark for a blank. As a token of its own it has no place in the text, although
its offsets may be those of the character behind it."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a classifier and probe it. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "extract")
    register()
    return TokenClassifier(spec, device)


class TokenClassifier(EncoderBackend):
    """One classifier, owned by the device's thread."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec) -> None:
        place = torch.device(device.name)
        model = load_model(spec, device, AutoModelForTokenClassification)
        self._head = token_head(model)
        encoder = Encoder(backbone_of(model), device=place)
        require_same(model, encoder, self._head)
        file = tokenizer_file(spec.weights.folder, device.cache_folder)
        self._core = LoadedEncoder(spec, encoder, file, device, finish=first_states, whole=model)
        self._tokens_max = self._core.limits.tokens_max
        self._tokenizer = read_tokenizer(file.path, tokens_max=self._tokens_max)
        # A long text is cut into windows below, and what it has beyond the first must be there.
        self._tokenizer.no_truncation()
        self._tags = read_tags(label_names(model))
        kinds = [tag.kind for tag in self._tags if tag.kind is not None]
        self._labels = FixedLabels(spec, kinds, self._tags)

    def describe(self) -> Loaded:
        """Texts in, entities out; a text's cost is a quarter of its bytes."""
        return replace(
            self._core.describe(),
            accepts="text",
            # What is longer than the model reads is read in windows.
            truncation_side="",
            tokenizer_path="",
            tokenizer_sha256="",
            cost_unit="bytes4",
        )

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """The entities of each text, in the order of the text."""
        self._core.require(batch, "extract")
        asked = chosen(self._core.spec, batch, ENTITIES)
        wanted = self._labels.wanted(batch.labels)
        texts = [given.text for given in take(batch, TextInput)]
        read = [TextTokens(found) for found in self._tokenizer.encode_batch(texts)]
        windows = [each.windows(self._tokens_max) for each in read]
        chances = self._chances(batch, windows)
        found = []
        for text, each, own in zip(texts, read, windows, strict=True):
            rows = [next(chances)[window.first : window.last] for window in own]
            tokens = _tokens(each, rows)
            told = [
                span
                for span in spans(text, tokens, self._tags, asked["aggregation"])
                if span[2] in wanted and span[3] >= asked["threshold"]
            ]
            found.append(placed(text, told, asked["offset_unit"]))
        return EntityAnswers(tuple(found), tokens=tuple(_count(own) for own in windows))

    def _chances(
        self, batch: RunBatch, windows: Sequence[Sequence[Window]]
    ) -> Iterator[NDArray[np.float32]]:
        """The probabilities [tokens, labels] of each window of each text, in order."""
        flat = [window for own in windows for window in own]
        pins = batch.adapters or (batch.adapter,) * len(windows)
        each = [pin for pin, own in zip(pins, windows, strict=True) for _ in own]
        for start in range(0, len(flat), _WINDOWS_AT_ONCE):
            some = slice(start, start + _WINDOWS_AT_ONCE)
            # Across texts: sixty-four short texts are one run, and a long text is several.
            inputs = [token_input(window.ids) for window in flat[some]]
            states, sequences = self._core.run(replace(batch, adapters=tuple(each[some])), inputs)
            lengths = lengths_of(states, sequences)
            rows: Tensor = self._head(states, sequences).float().softmax(dim=-1)
            self._core.require_finite(rows)
            for part in as_given(torch.split(rows.cpu(), lengths), states.order):
                yield part.numpy()


def _tokens(read: TextTokens, rows: Sequence[NDArray[Any]]) -> list[Token]:
    chances = np.concatenate(rows) if rows else ()
    return [
        Token(start, start if token.strip(_BLANK_MARK) == "" else stop, row)
        for token, (start, stop), row in zip(read.tokens, read.offsets, chances, strict=True)
    ]


def _count(windows: Sequence[Window]) -> int:
    return sum(len(window.ids) for window in windows)
