"""The backend `token-classification`: entities from a torch classifier of tokens.

*device* over one model, its tokenizer and its adapters. Takes texts and tokenizes them itself: an
entity's place is told in characters of the text. A text longer than the model reads is read in
windows that overlap, up to 64 of them: a word has the label of the window in which it lies farthest
from where the text was cut. Asking for a label that the model does not have is an error, not an
empty answer.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

import numpy as np
import torch
from msgspec.structs import replace
from tokenizers import Encoding
from torch import Tensor
from transformers import AutoModelForTokenClassification

from sie_schemas.ipc import Answers, EntityAnswers, Loaded, RunBatch, TextInput, TokensInput
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec, load_failed, take
from sie_server.backends.class_heads import first_states, require_same, token_head
from sie_server.backends.encoder import Encoder
from sie_server.backends.entities import (
    Word,
    default_labels,
    entities,
    merged,
    require_labels,
)
from sie_server.backends.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.model_files import backbone_of, load_model
from sie_server.backends.vector_answers import as_given, lengths_of
from sie_server.packed.packed_attention import register
from sie_server.weights.tokenizer_file import read_tokenizer, tokenizer_file

__all__ = ["TokenClassifier", "load"]

_OUTSIDE: Final = "O"
_WINDOWS_MAX: Final = 64
_OVERLAP: Final = 4
"""Neighbouring windows share a quarter of their tokens."""


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a classifier and probe it. Raises MODEL_LOAD_FAILED."""
    if spec.tasks.extract is None or spec.tasks.encode or spec.tasks.score:
        raise load_failed("the backend token-classification does `extract` only")
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
        self._core = LoadedEncoder(spec, encoder, file, device, finish=first_states)
        tokens_max = self._core.limits.tokens_max
        self._tokenizer = read_tokenizer(
            file.path, tokens_max=tokens_max, stride=tokens_max // _OVERLAP
        )
        named = {int(place): str(name) for place, name in (model.config.id2label or {}).items()}
        self._names = [named[place] for place in sorted(named)]
        self._kinds = frozenset(name.split("-", 1)[-1] for name in self._names) - {_OUTSIDE}
        self._default = default_labels(spec, self._kinds)

    def describe(self) -> Loaded:
        """Texts in, entities out; a text's cost is a quarter of its bytes."""
        return replace(
            self._core.describe(),
            accepts="text",
            tokenizer_path="",
            tokenizer_sha256="",
            cost_unit="bytes4",
        )

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """The entities of each text, in the order of the text."""
        self._core.require(batch, "extract")
        wanted = require_labels(batch.labels, self._kinds, self._core.spec.model_id)
        texts = [given.text for given in take(batch, TextInput)]
        windows = [_windows(found) for found in self._tokenizer.encode_batch(texts)]
        tokens = [_tokens(window) for each in windows for window in each]
        states, sequences = self._core.run(_by_window(batch, windows), tokens)
        lengths = lengths_of(states, sequences)
        chances: Tensor = self._head(states.hidden, lengths).float().softmax(dim=-1)
        self._core.require_finite(chances)
        scores, labels = (torch.split(part, lengths) for part in chances.max(dim=-1))
        told = zip(as_given(labels, states.order), as_given(scores, states.order), strict=True)
        found = []
        for text, own in zip(texts, windows, strict=True):
            read = [self._words(each, *(part.tolist() for part in next(told))) for each in own]
            margins = [_margins(each, place, len(own)) for place, each in enumerate(own)]
            found.append(entities(text, merged(read, margins), wanted or self._default))
        return EntityAnswers(tuple(found))

    def _words(
        self, encoding: Encoding, labels: Sequence[int], scores: Sequence[float]
    ) -> dict[int, Word]:
        """The words of a window, by their number in the text."""
        words: dict[int, Word] = {}
        places = zip(encoding.word_ids, encoding.offsets, labels, scores, strict=True)
        for number, (start, stop), label, score in places:
            if number is None or start == stop:
                continue
            if (word := words.get(number)) is not None:
                words[number] = Word(word.start, stop, word.label, word.score)
            else:
                words[number] = Word(start, stop, self._names[label], score)
        return words


def _tokens(encoding: Encoding) -> TokensInput:
    return TokensInput(np.asarray(encoding.ids, dtype="<i4").tobytes())


def _windows(encoding: Encoding) -> list[Encoding]:
    return [encoding, *encoding.overflowing][:_WINDOWS_MAX]


def _by_window(batch: RunBatch, windows: Sequence[Sequence[Encoding]]) -> RunBatch:
    """The batch with the adapter of each window in the place of that of each text."""
    if not batch.adapters:
        return batch
    pairs = zip(batch.adapters, windows, strict=True)
    return replace(batch, adapters=tuple(pin for pin, own in pairs for _ in own))


def _margins(encoding: Encoding, place: int, windows: int) -> dict[int, float]:
    """For each word of a window, its tokens' distance from where the text was cut, if it was."""
    margins: dict[int, float] = {}
    count = len(encoding.ids)
    for token, number in enumerate(encoding.word_ids):
        if number is not None:
            before = token if place else inf
            behind = count - 1 - token if place < windows - 1 else inf
            margins[number] = min(margins.get(number, inf), before, behind)
    return margins
