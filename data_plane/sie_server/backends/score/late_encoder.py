"""A vector for each token of a text, and scores of late interaction (ColBERT).

*device* over one encoder and its adapters; the part of the backend `transformer` that is chosen
where the folder's layout says so. Queries are filled up with tokens at which the text does not look
(`TokensInput.attended`). Whether packed execution does that as the model's own is tried at load.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sie_layouts.late import TokenLayout
from sie_layouts.steps import TextLayout
from sie_schemas.ipc import (
    Answers,
    EncodeAnswers,
    Loaded,
    MultivectorAnswers,
    RunBatch,
    TextForm,
    TokensInput,
)
from sie_server.backends.backend import (
    DeviceSpec,
    ModelSpec,
    load_failed,
    require_outputs,
    take,
    unit_length,
)
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.backends.forward.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.forward.trial_texts import trial_texts
from sie_server.backends.heads.vector_answers import (
    as_given,
    float_bytes,
    lengths_of,
    rows_as_given,
)
from sie_server.backends.model_files import encoder_kind, load_model
from sie_server.backends.score.late import late_scores
from sie_server.vectors.pooling import pool
from sie_server.vectors.steps import VectorSteps
from sie_server.weights.tokenizer_file import tokenizer_file

__all__ = ["LateEncoder"]

_OF_ONE_VECTOR: Final = frozenset({"document_prompt", "normalize", "pooling", "query_prompt"})
"""A folder of this kind has the words of each side, and none to choose."""
_TRIED: Final = ((24, 9), (24, 24), (24, 2), (40, 40))
"""Lengths of the texts that are tried, and at how many tokens each looks. The last is longer than
the others, which are padded beside it."""


class LateEncoder(EncoderBackend):
    """One encoder, owned by the device's thread."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec, layout: TokenLayout) -> None:
        require_outputs(spec, {"multivector"})
        for name in sorted(spec.profile.options.keys() & _OF_ONE_VECTOR):
            raise load_failed(f"the option {name} is for one vector a text")
        place = torch.device(device.name)
        folder = spec.weights.folder
        text = dataclasses.replace(layout.encoder.text, marks=layout.marks)
        model = load_model(
            spec, device, encoder_kind(spec.weights), may_lack=("pooler.",),
            config_options=layout.encoder.config_options,
        )  # fmt: skip
        self._layout = layout
        self._steps = VectorSteps(layout.steps, spec.weights, place)
        try:
            names = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            # It reads config.json by itself, where it knows fewer words than the model does.
            raise load_failed(
                f"transformers cannot read the tokenizer in {folder}: {error}; restore its files"
            ) from error
        self._skipped = _ids(names, layout.skipped)
        self._kept = np.array(layout.kept_ids, dtype=np.int64)
        self._forms, text = _lengths(_forms(layout, names), text)
        encoder = Encoder(model, device=place)
        self._core = LoadedEncoder(
            spec,
            encoder,
            tokenizer_file(folder, device.cache_folder, text),
            device,
            finish=self._means,
            text=text,
            takes_types=False,
        )
        self._width = self._steps.of_tokens(
            torch.zeros(1, model.config.hidden_size, device=place)
        ).shape[1]
        if any(form.filled_to and not form.attended for form in self._forms.values()):
            self._try_filled()

    def describe(self) -> Loaded:
        """Token ids of a query or a document in, vectors out."""
        prompts = {"query": self._layout.query.prompt, "document": self._layout.document.prompt}
        return replace(
            self._core.describe(),
            prompts=prompts,
            texts=self._forms,
            dims={"multivector": self._width},
        )

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """The vectors of each text, or the score of each pair, in order."""
        if batch.operation == "score" and self._core.spec.tasks.score is not None:
            return late_scores(self._core, batch, self._vectors, mean=self._layout.mean)
        self._core.require(batch, "encode", {"multivector"})
        unit_length(batch, self._core.spec.model_id, {"multivector"})
        given = self._vectors(batch, take(batch, TokensInput))
        counts = np.array([len(text) for text in given], dtype="<i4")
        rows = torch.cat(given)
        return EncodeAnswers(
            multivector=MultivectorAnswers(self._width, counts.tobytes(), float_bytes(rows))
        )

    def _vectors(self, batch: RunBatch, texts: Sequence[TokensInput]) -> list[Tensor]:
        """The vectors that count, of each text."""
        states, sequences = self._core.run(batch, texts)
        rows = self._steps.of_tokens(states.hidden)
        self._core.require_finite(rows)
        parts = torch.split(rows, lengths_of(states, sequences))
        found = as_given(parts, states.order)
        return [
            part[torch.from_numpy(self._counts(text, ids)).to(part.device)]
            for part, text, ids in zip(found, texts, sequences.ids, strict=True)
        ]

    def _counts(self, text: TokensInput, ids: Tensor) -> Any:
        """True for each token that counts."""
        tokens = ids.cpu().numpy()
        side = "query" if text.query else "document"
        counts = np.ones(len(tokens), dtype=bool)
        if side in self._layout.skipped_in:
            counts &= ~np.isin(tokens, self._skipped)
        if side == "document" and len(self._kept):
            counts &= np.isin(tokens, self._kept)
        return counts

    @torch.inference_mode()
    def _means(self, states: States, sequences: Sequences) -> Tensor:
        packed = pool(states.hidden, lengths_of(states, sequences), "mean")
        return rows_as_given(packed, states.order)

    @torch.inference_mode()
    def _try_filled(self) -> None:
        """Texts that are filled up, beside others and alone: they have to agree."""
        core = self._core
        ids = trial_texts(core.limits.vocabulary, [length for length, _ in _TRIED])
        nothing = [None] * len(ids)
        texts = Sequences(ids, nothing, nothing, attended=[seen for _, seen in _TRIED])

        def rows(states: States, texts: Sequences) -> Tensor:
            parts = torch.split(states.hidden, lengths_of(states, texts))
            return torch.cat(as_given(parts, states.order))

        core.try_together(texts, rows, "queries that are filled up")


def _forms(layout: TokenLayout, names: PreTrainedTokenizerBase) -> dict[str, TextForm]:
    document = TextForm(layout.document.tokens_max or 0)
    expansion = layout.expansion
    if expansion is None:
        return {"query": TextForm(layout.query.tokens_max or 0), "document": document}
    right = names.padding_side == "right" if layout.fills_right is None else layout.fills_right
    if not right:
        raise load_failed("queries are filled up, and the tokenizer fills at the left")
    limit = layout.query.tokens_max
    if expansion.fixed:
        limit = expansion.tokens
    elif limit is not None:
        limit = max(limit, expansion.tokens)
    query = TextForm(
        limit or 0, expansion.tokens, _filler(names, expansion.token), expansion.attended
    )
    return {"query": query, "document": document}


def _lengths(
    forms: dict[str, TextForm], text: TextLayout
) -> tuple[dict[str, TextForm], TextLayout]:
    """A side's own length counts over the texts' in general, also where it is the greater.

    A query is filled up to more tokens than it is cut at, where its expansion says so.
    """
    longest = max(max(form.tokens_max, form.filled_to) for form in forms.values())
    if all(form.tokens_max for form in forms.values()):
        text = dataclasses.replace(text, tokens_max=longest, capped_by_positions=False)
    elif text.tokens_max is not None and longest > text.tokens_max:
        general = text.tokens_max
        forms = {
            name: replace(form, tokens_max=form.tokens_max or general)
            for name, form in forms.items()
        }
        text = dataclasses.replace(text, tokens_max=longest)
    return forms, text


def _filler(names: PreTrainedTokenizerBase, token: str | None) -> int:
    found = (
        names.convert_tokens_to_ids(token)
        if token is not None
        else names.eos_token_id
        if names.mask_token_id is None
        else names.mask_token_id
    )
    unknown = token is not None and found == names.unk_token_id and token != names.unk_token
    if not isinstance(found, int) or unknown:
        raise load_failed(f"queries are filled up with {token or 'a mask'}, which is no token here")
    return found


def _ids(names: PreTrainedTokenizerBase, words: Sequence[str]) -> Any:
    """The ids of words that are one token each; what the vocabulary lacks is nobody's token."""
    found = [(word, names.convert_tokens_to_ids(word)) for word in words]
    return np.array(
        [
            number
            for word, number in found
            if number is not None and (number != names.unk_token_id or word == names.unk_token)
        ],
        dtype=np.int64,
    )
