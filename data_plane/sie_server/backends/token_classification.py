"""The backend `token-classification`: entities from a torch classifier of tokens.

*shell* over one model, its tokenizer and its adapters. Takes texts and tokenizes them itself: an
entity's place is told in characters of the text. What lies behind the model's length is not read.
Asking for a label that the model does not have is an error, not an empty answer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from msgspec.structs import replace
from tokenizers import Encoding, Tokenizer
from torch import Tensor
from transformers import AutoModelForTokenClassification

from sie_schemas.errors import FixRequest
from sie_schemas.ipc import Answers, EntityAnswers, Loaded, RunBatch, TextInput, TokensInput
from sie_server.backend import Backend, DeviceSpec, ModelSpec, load_failed, take
from sie_server.backends.class_heads import first_states, require_same, token_head
from sie_server.backends.encoder import Encoder
from sie_server.backends.entities import Word, entities
from sie_server.backends.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.model_files import backbone_of, load_model
from sie_server.backends.vector_answers import as_given, lengths_of
from sie_server.packed_attention import register
from sie_server.tokenizer_file import tokenizer_file

__all__ = ["TokenClassifier", "load"]

_OUTSIDE: Final = "O"


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load a classifier and probe it. Raises MODEL_LOAD_FAILED."""
    if spec.profile.options or spec.tasks.extract is None or spec.tasks.encode or spec.tasks.score:
        raise load_failed("the backend token-classification has no options and does `extract` only")
    register()
    return TokenClassifier(spec, device)


class TokenClassifier(EncoderBackend):
    """One classifier, owned by the device's thread."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec) -> None:
        assert spec.tasks.extract is not None
        place = torch.device(device.name)
        model = load_model(spec, device, AutoModelForTokenClassification)
        self._head = token_head(model)
        encoder = Encoder(backbone_of(model), device=place)
        require_same(model, encoder, self._head)
        file = tokenizer_file(spec.weights.folder, device.cache_folder)
        self._core = LoadedEncoder(spec, encoder, file, device, finish=first_states)
        self._tokenizer = _tokenizer(file.path, self._core.limits.tokens_max)
        named = {int(place): str(name) for place, name in (model.config.id2label or {}).items()}
        self._names = [named[place] for place in sorted(named)]
        self._kinds = frozenset(name.split("-", 1)[-1] for name in self._names) - {_OUTSIDE}
        self._default = self._wanted(spec.tasks.extract.labels)

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
        self._core.require(batch, "extract", frozenset())
        wanted = self._wanted(batch.labels) or self._default
        texts = [given.text for given in take(batch, TextInput)]
        encodings = self._tokenizer.encode_batch(texts)
        states, sequences = self._core.run(batch, [_tokens(found) for found in encodings])
        lengths = lengths_of(states, sequences)
        chances: Tensor = self._head(states.hidden, lengths).float().softmax(dim=-1)
        self._core.require_finite(chances)
        scores, labels = (torch.split(part, lengths) for part in chances.max(dim=-1))
        found = zip(
            texts,
            encodings,
            as_given(labels, states.order),
            as_given(scores, states.order),
            strict=True,
        )
        return EntityAnswers(
            tuple(
                entities(text, self._words(encoding, own.tolist(), sure.tolist()), wanted)
                for text, encoding, own, sure in found
            )
        )

    def _words(
        self, encoding: Encoding, labels: Sequence[int], scores: Sequence[float]
    ) -> list[Word]:
        words: list[Word] = []
        before: int | None = None
        places = zip(encoding.word_ids, encoding.offsets, labels, scores, strict=True)
        for word, (start, stop), label, score in places:
            if word is None or start == stop:
                continue
            if word == before:
                words[-1] = Word(words[-1].start, stop, words[-1].label, words[-1].score)
            else:
                words.append(Word(start, stop, self._names[label], score))
            before = word
        return words

    def _wanted(self, labels: Sequence[str]) -> frozenset[str]:
        unknown = sorted(set(labels) - self._kinds)
        if unknown:
            raise FixRequest(
                f"{self._core.spec.model_id} knows no label {unknown[0]!r}; "
                f"its labels are {', '.join(sorted(self._kinds))}",
                field="labels",
            )
        return frozenset(labels)


def _tokens(encoding: Encoding) -> TokensInput:
    return TokensInput(np.asarray(encoding.ids, dtype="<i4").tobytes())


def _tokenizer(path: Path, tokens_max: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max)
    return tokenizer
