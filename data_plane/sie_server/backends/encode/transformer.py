"""The backend `transformer`: vectors from an encoder on torch, packed where it may be.

*device* over one torch model and its adapters. Reads how vectors are made from the model's folder;
takes token ids only; answers float32. Gives `dense`, or `sparse` from a masked-language model
(SPLADE). With the small heads of bge-m3 (`sparse_linear.safetensors`, `colbert_linear.safetensors`)
it gives any of `dense`, `sparse` and `multivector`. Heads that score or classify are other backends
beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import Final

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from sie_layouts.folder import FolderFiles
from sie_layouts.late import read_late
from sie_layouts.layout import SentenceLayout
from sie_layouts.reading import kind_of
from sie_layouts.steps import StaticStep, TokenWeightsStep, TransformerStep
from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    EncodeAnswers,
    Loaded,
    MultivectorAnswers,
    RunBatch,
    SparseAnswers,
    TextForm,
    TokensInput,
)
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    load_failed,
    require_outputs,
    take,
    unit_length,
)
from sie_server.backends.encode.folder_layout import read_layout, told_prompts, told_tasks
from sie_server.backends.encode.lookup import LookupBackend
from sie_server.backends.encode.masked_language import MaskedLanguageBackend
from sie_server.backends.encode.routed import RoutedBackend
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.backends.forward.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.heads import encode_heads
from sie_server.backends.heads.vector_answers import (
    as_given,
    float_bytes,
    lengths_of,
    rows_as_given,
    sparse_answers,
    sparse_rows,
)
from sie_server.backends.model_files import encoder_kind, load_model, task_changes
from sie_server.backends.score.late import late_scores
from sie_server.backends.score.late_encoder import LateEncoder
from sie_server.packed.packed_attention import register
from sie_server.vectors.layer_files import read_head
from sie_server.vectors.steps import VectorSteps
from sie_server.weights.tokenizer_file import TokenizerFile, tokenizer_file

__all__ = ["TransformerBackend", "load"]

_SPARSE_FILE: Final = "sparse_linear.safetensors"
_MULTIVECTOR_FILE: Final = "colbert_linear.safetensors"


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load an encoder and probe it. Raises MODEL_LOAD_FAILED."""
    if spec.tasks.encode is None or spec.tasks.extract:
        raise load_failed("the backend transformer does `encode`, and `score` beside it")
    outputs = frozenset(spec.tasks.encode.outputs)
    if spec.tasks.score is not None and "multivector" not in outputs:
        raise load_failed("a score is made of multivectors here, and the task encode has none")
    register()
    files = FolderFiles(spec.weights.folder)
    if kind_of(files) == "token_vectors":
        reading = read_late(files)
        if reading.layout is None:
            raise load_failed("; ".join(map(str, reading.refusals)))
        told_tasks(None, spec.profile)
        return LateEncoder(spec, device, reading.layout)
    sparse = outputs == {"sparse"} and not (spec.weights.folder / _SPARSE_FILE).is_file()
    layout = read_layout(
        spec.weights.folder, spec.profile, sparse=sparse, hub_name=spec.weights.hub_name
    )
    told_tasks(layout.tasks, spec.profile)
    if spec.tasks.score is not None and (layout.routed or layout.output != "dense"):
        raise load_failed("a model whose queries go another way makes no scores here")
    if not layout.routed:
        return _side(spec, device, layout)
    queries = changed(layout, document=layout.query)
    return RoutedBackend(
        _side(spec, device, layout),
        _side(spec, device, queries),
        by_default=layout.default_side == "query",
    )


def _side(spec: ModelSpec, device: DeviceSpec, layout: SentenceLayout) -> Backend:
    """The backend of a layout's documents. Raises MODEL_LOAD_FAILED."""
    step = layout.document[0]
    if isinstance(step, StaticStep | TokenWeightsStep):
        require_outputs(spec, {layout.output})
        return LookupBackend(spec, device, layout, step)
    assert isinstance(step, TransformerStep), "a layout's first step takes texts in"
    inside = spec.weights.inside(step.folder)
    at = changed(spec, weights=inside)
    tokenizer = tokenizer_file(inside.folder, device.cache_folder, step.text)
    if step.head == "masked_language":
        return MaskedLanguageBackend(at, device, layout, step, tokenizer, spec.weights)
    return _encoder(spec, at, device, layout, step, tokenizer)


def _encoder(
    spec: ModelSpec,
    at: ModelSpec,
    device: DeviceSpec,
    layout: SentenceLayout,
    step: TransformerStep,
    tokenizer: TokenizerFile,
) -> Backend:
    """The model at `at`, and the layers behind it, which are named from `spec`'s folder."""
    assert spec.tasks.encode is not None
    outputs = frozenset(spec.tasks.encode.outputs)
    own_head = outputs if layout.output == "dense" else frozenset()
    model = load_model(
        at,
        device,
        encoder_kind(at.weights),
        # No vector is made of it, and many a file lacks it.
        may_lack=("pooler.",),
        takes_own_code=True,
        config_options=step.config_options,
    )
    heads = _Heads(
        steps=VectorSteps(
            layout.document[1:],
            spec.weights,
            torch.device(device.name),
            kept=layout.kept if layout.output == "dense" else None,
        ),
        sparse=read_head(spec.weights, _SPARSE_FILE, model) if "sparse" in own_head else None,
        multivector=read_head(spec.weights, _MULTIVECTOR_FILE, model)
        if "multivector" in own_head
        else None,
        special=_special_ids(tokenizer) if "sparse" in own_head else np.empty(0, np.int64),
    )
    return TransformerBackend(at, device, model, layout, step, tokenizer, heads)


@dataclass(frozen=True, slots=True)
class _Heads:
    """The parts behind the encoder; None for an output that is not offered."""

    steps: VectorSteps
    sparse: nn.Linear | None
    multivector: nn.Linear | None
    special: NDArray[np.int64]


class TransformerBackend(EncoderBackend):
    """One encoder and its adapters, owned by the device's thread."""

    def __init__(
        self,
        spec: ModelSpec,
        device: DeviceSpec,
        model: PreTrainedModel,
        layout: SentenceLayout,
        step: TransformerStep,
        tokenizer: TokenizerFile,
        heads: _Heads,
    ) -> None:
        assert spec.tasks.encode is not None
        self._outputs = frozenset(spec.tasks.encode.outputs)
        self._scores = spec.tasks.score is not None
        self._layout = layout
        self._heads = heads
        self._core = LoadedEncoder(
            spec,
            Encoder(model, device=torch.device(device.name)),
            tokenizer,
            device,
            finish=self._vectors,
            text=step.text,
            tasks=task_changes(spec.weights, model, step.tasks),
        )
        self._tasks = step.tasks

    def describe(self) -> Loaded:
        """Token ids in, vectors out."""
        return replace(
            self._core.describe(),
            prompts=told_prompts(self._layout),
            tasks=told_tasks(self._tasks, self._core.spec.profile),
            skips_prompts=self._heads.steps.skips_prompts,
            dims=self._dims(),
            texts={"query": TextForm(), "document": TextForm()} if self._scores else {},
        )

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """Vectors, or scores of late interaction, in the order of the inputs."""
        if batch.operation == "score" and self._scores:
            # As its authors have it, the mean over the query's tokens.
            return late_scores(self._core, batch, self._token_vectors, mean=True)
        self._core.require(batch, "encode", self._outputs)
        wanted = frozenset(batch.outputs) or self._outputs
        unit = unit_length(batch, self._core.spec.model_id, wanted)
        states, sequences = self._core.run(batch, take(batch, TokensInput))
        if self._layout.output == "sparse":
            rows = self._vectors(states, sequences)
            self._core.require_finite(rows)
            return EncodeAnswers(sparse=sparse_rows(rows, self._layout.kept))
        if wanted == {"dense"}:
            return self._dense_answers(states, sequences, unit)
        return EncodeAnswers(
            dense=self._dense_answers(states, sequences, unit) if "dense" in wanted else None,
            sparse=self._sparse_answers(states, sequences) if "sparse" in wanted else None,
            multivector=self._multivector_answers(states, sequences)
            if "multivector" in wanted
            else None,
        )

    def _dense_answers(
        self, states: States, sequences: Sequences, unit: bool | None
    ) -> DenseAnswers:
        vectors = self._vectors(states, sequences, unit)
        self._core.require_finite(vectors)
        return DenseAnswers(vectors.shape[1], float_bytes(vectors))

    def _sparse_answers(self, states: States, sequences: Sequences) -> SparseAnswers:
        assert self._heads.sparse is not None
        weights = self._heads.sparse(states.hidden)[:, 0]
        self._core.require_finite(weights)
        ids = [sequences.ids[index] for index in states.order]
        return sparse_answers(
            as_given(encode_heads.lexical(weights, ids, self._heads.special), states.order)
        )

    def _multivector_answers(self, states: States, sequences: Sequences) -> MultivectorAnswers:
        given = self._token_rows(states, sequences)
        self._core.require_finite(*given)
        counts = np.array([len(text) for text in given], dtype="<i4")
        return MultivectorAnswers(
            given[0].shape[1], counts.tobytes(), float_bytes(torch.cat(given))
        )

    def _token_vectors(self, batch: RunBatch, texts: Sequence[TokensInput]) -> list[Tensor]:
        return self._token_rows(*self._core.run(batch, texts))

    def _token_rows(self, states: States, sequences: Sequences) -> list[Tensor]:
        assert self._heads.multivector is not None
        lengths = lengths_of(states, sequences)
        rows = encode_heads.token_vectors(self._heads.multivector, states.hidden, lengths)
        return as_given(rows, states.order)

    def _vectors(self, states: States, sequences: Sequences, unit: bool | None = None) -> Tensor:
        skips = [sequences.skips[index] for index in states.order] if sequences.skips else ()
        lengths = lengths_of(states, sequences)
        packed = self._heads.steps(states.hidden, lengths, skips, unit=unit)
        return rows_as_given(packed, states.order)

    def _dims(self) -> dict[str, int]:
        config = self._core.encoder.model.config
        dims = {
            "dense": self._layout.width or config.hidden_size,
            "sparse": (self._layout.width or 0)
            if self._layout.output == "sparse"
            else config.vocab_size,
            "multivector": self._heads.multivector.out_features if self._heads.multivector else 0,
        }
        return {name: dims[name] for name in sorted(self._outputs)}


def _special_ids(tokenizer: TokenizerFile) -> NDArray[np.int64]:
    """Ids that stand for no text: they get no lexical weight."""
    added = json.loads(tokenizer.path.read_bytes()).get("added_tokens") or []
    return np.array([token["id"] for token in added if token.get("special")], dtype=np.int64)
