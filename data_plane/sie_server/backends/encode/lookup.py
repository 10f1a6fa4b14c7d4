"""Vectors from tables alone: no transformer, each token's row looked up.

*device* over one table; the part of the backend `transformer` that takes texts in where a layout
begins with a `StaticStep` or a `TokenWeightsStep`.
"""

from typing import Final

import torch

from sie_layouts.layout import SentenceLayout
from sie_layouts.steps import StaticStep, TokenWeightsStep
from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    EncodeAnswers,
    Loaded,
    RunBatch,
    TokensInput,
)
from sie_server.backends.backend import (
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    load_failed,
    take,
    unit_length,
)
from sie_server.backends.encode.folder_layout import told_prompts
from sie_server.backends.forward.token_inputs import TokenLimits, read_tokens
from sie_server.backends.heads.vector_answers import float_bytes, sparse_rows
from sie_server.vectors.steps import VectorSteps
from sie_server.vectors.tables import read_table
from sie_server.weights.tokenizer_file import own_tokenizer, tokenizer_file

__all__ = ["LookupBackend"]

_ANY_LENGTH: Final = 1 << 31
"""Tokens of a text where a folder sets no bound: no text has so many."""


class LookupBackend(WithoutAdapters):
    """One table and the steps behind it."""

    name = "transformer"

    def __init__(
        self,
        spec: ModelSpec,
        device: DeviceSpec,
        layout: SentenceLayout,
        step: StaticStep | TokenWeightsStep,
    ) -> None:
        if spec.profile.dtype not in ("auto", "fp32"):
            raise load_failed("the profile's dtype: a table works in fp32 alone: write auto")
        place = torch.device(device.name)
        folder = spec.weights.inside(step.folder).folder
        self._spec = spec
        self._layout = layout
        self._table = read_table(spec.weights, step, place)
        self._steps = VectorSteps(
            layout.document[1:],
            spec.weights,
            place,
            kept=layout.kept if layout.output == "dense" else None,
        )
        if isinstance(step, StaticStep):
            # The reference reads this file by itself, with the limit that it may carry.
            self._tokenizer, limit = own_tokenizer(folder)
        else:
            self._tokenizer = tokenizer_file(folder, device.cache_folder, step.text)
            limit = step.text.tokens_max
        known = [each for each in (limit, spec.profile.max_sequence_length) if each]
        self._tokens_max = min(known) if known else 0
        self._limits = TokenLimits(
            self._table.vocabulary, types=0, tokens_max=self._tokens_max or _ANY_LENGTH
        )

    def describe(self) -> Loaded:
        """Token ids without special ones in, vectors out."""
        width = self._layout.width or self._table.width
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="tokens",
            tokenizer_path=str(self._tokenizer.path),
            tokenizer_sha256=self._tokenizer.sha256,
            truncation_side=self._tokenizer.truncation_side,
            max_sequence_length=self._tokens_max,
            special_tokens=False,
            prompts=told_prompts(self._layout),
            cost_unit="tokens",
            # Each token's row is looked up by itself: there is nothing to pad.
            execution="packed",
            dims={self._layout.output: width},
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
        )

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """Vectors in the order of the inputs."""
        self.require(batch, "encode", {self._layout.output})
        unit = unit_length(batch, self._spec.model_id, {self._layout.output})
        ids, _ = read_tokens(take(batch, TokensInput), self._limits)
        rows = self._steps.of_vectors(self._table.of(ids), unit=unit)
        if self._layout.output == "sparse":
            return EncodeAnswers(sparse=sparse_rows(rows, self._layout.kept))
        return DenseAnswers(rows.shape[1], float_bytes(rows))

    def memory_bytes(self) -> int:
        """Bytes of the table."""
        return self._table.memory_bytes
