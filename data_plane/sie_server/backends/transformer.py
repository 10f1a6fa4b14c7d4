"""The backend `transformer`: vectors from an encoder on torch, packed where it may be.

*device* over one torch model and its adapters. Reads how vectors are made from the model's folder;
takes token ids only; answers float32. Gives `dense`, or `sparse` from a masked-language model
(SPLADE), or any of `dense`, `sparse` and `multivector` where the folder has the small heads of
bge-m3 as `sparse_linear.safetensors` and `colbert_linear.safetensors`. Heads that score or
classify are other backends beside it.
"""

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    EncodeAnswers,
    Loaded,
    MultivectorAnswers,
    RunBatch,
    SparseAnswers,
    TokensInput,
)
from sie_server.backends import encode_heads
from sie_server.backends.backend import Backend, DeviceSpec, ModelSpec, load_failed, take
from sie_server.backends.encoder import Encoder, Sequences, States
from sie_server.backends.linear_files import DenseLayer, dense_layer, read_head
from sie_server.backends.loaded_encoder import EncoderBackend, LoadedEncoder
from sie_server.backends.masked_language import MaskedLanguageBackend
from sie_server.backends.model_files import encoder_kind, load_model
from sie_server.backends.pooling import pool
from sie_server.backends.sentence_layout import SentenceLayout, read_layout
from sie_server.backends.vector_answers import (
    as_given,
    float_bytes,
    lengths_of,
    rows_as_given,
    sparse_answers,
)
from sie_server.packed.packed_attention import register
from sie_server.weights.tokenizer_file import TokenizerFile, require_lowercase, tokenizer_file

__all__ = ["TransformerBackend", "load"]

_SPARSE_FILE: Final = "sparse_linear.safetensors"
_MULTIVECTOR_FILE: Final = "colbert_linear.safetensors"


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Load an encoder and probe it. Raises MODEL_LOAD_FAILED."""
    if spec.tasks.encode is None or spec.tasks.score or spec.tasks.extract:
        raise load_failed("the backend transformer does `encode` only")
    register()
    place = torch.device(device.name)
    layout = read_layout(spec.weights.folder, spec.profile)
    tokenizer = tokenizer_file(spec.weights.folder, device.cache_folder)
    if layout.lowercase:
        require_lowercase(tokenizer.path)
    outputs = frozenset(spec.tasks.encode.outputs)
    if outputs == {"sparse"} and not (spec.weights.folder / _SPARSE_FILE).is_file():
        return MaskedLanguageBackend(spec, device, layout, tokenizer)
    kind = encoder_kind(spec.weights)
    model = load_model(spec, device, kind, may_lack=("pooler.",), takes_own_code=True)
    heads = _Heads(
        dense=tuple(dense_layer(spec.weights, step, place) for step in layout.dense),
        sparse=read_head(spec.weights, _SPARSE_FILE, model) if "sparse" in outputs else None,
        multivector=read_head(spec.weights, _MULTIVECTOR_FILE, model)
        if "multivector" in outputs
        else None,
        special=_special_ids(tokenizer) if "sparse" in outputs else np.empty(0, np.int64),
    )
    return TransformerBackend(spec, device, model, layout, tokenizer, heads)


@dataclass(frozen=True, slots=True)
class _Heads:
    """The heads behind the encoder; None for an output that is not offered."""

    dense: tuple[DenseLayer, ...]
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
        tokenizer: TokenizerFile,
        heads: _Heads,
    ) -> None:
        assert spec.tasks.encode is not None
        self._outputs = frozenset(spec.tasks.encode.outputs)
        self._layout = layout
        self._heads = heads
        self._core = LoadedEncoder(
            spec,
            Encoder(model, device=torch.device(device.name)),
            tokenizer,
            device,
            finish=self._dense,
            tokens_max=layout.tokens_max,
        )

    def describe(self) -> Loaded:
        """Token ids in, vectors out."""
        return replace(self._core.describe(), prompts=dict(self._layout.prompts), dims=self._dims())

    @torch.inference_mode()
    def run(self, batch: RunBatch) -> Answers:
        """Vectors in the order of the inputs."""
        self._core.require(batch, "encode", self._outputs)
        states, sequences = self._core.run(batch, take(batch, TokensInput))
        wanted = frozenset(batch.outputs) or self._outputs
        if wanted == {"dense"}:
            return self._dense_answers(states, sequences)
        return EncodeAnswers(
            dense=self._dense_answers(states, sequences) if "dense" in wanted else None,
            sparse=self._sparse_answers(states, sequences) if "sparse" in wanted else None,
            multivector=self._multivector_answers(states, sequences)
            if "multivector" in wanted
            else None,
        )

    def _dense_answers(self, states: States, sequences: Sequences) -> DenseAnswers:
        vectors = self._dense(states, sequences)
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
        assert self._heads.multivector is not None
        lengths = lengths_of(states, sequences)
        rows = encode_heads.token_vectors(self._heads.multivector, states.hidden, lengths)
        self._core.require_finite(*rows)
        given = as_given(rows, states.order)
        counts = np.array([len(text) for text in given], dtype="<i4")
        return MultivectorAnswers(rows[0].shape[1], counts.tobytes(), float_bytes(torch.cat(given)))

    @torch.inference_mode()
    def _dense(self, states: States, sequences: Sequences) -> Tensor:
        layout = self._layout
        last = layout.normalize and not self._heads.dense
        packed = pool(states.hidden, lengths_of(states, sequences), layout.pooling, normalize=last)
        for layer in self._heads.dense:
            packed = layer(packed)
        if layout.normalize and not last:
            packed = nn.functional.normalize(packed, dim=1)
        return rows_as_given(packed, states.order)

    def _dims(self) -> dict[str, int]:
        config = self._core.encoder.model.config
        dense = self._heads.dense
        dims = {
            "dense": dense[-1].out_features if dense else config.hidden_size,
            "sparse": config.vocab_size,
            "multivector": self._heads.multivector.out_features if self._heads.multivector else 0,
        }
        return {name: dims[name] for name in sorted(self._outputs)}


def _special_ids(tokenizer: TokenizerFile) -> NDArray[np.int64]:
    """Ids that stand for no text: they get no lexical weight."""
    added = json.loads(tokenizer.path.read_bytes()).get("added_tokens") or []
    return np.array([token["id"] for token in added if token.get("special")], dtype=np.int64)
