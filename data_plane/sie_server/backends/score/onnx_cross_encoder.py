"""The backend `onnx-cross-encoder`: scores pairs of texts with an ONNX graph.

*device* over one ONNX Runtime session. Takes token ids of pairs, made by the folder's own
tokenizer.json. Where the profile says that batch-mates change an answer (dynamically quantised
graphs do), each pair is a call of its own. Scores are the graph's logits.
"""

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,
)
from torch import Tensor

from sie_schemas.ipc import Answers, Loaded, RunBatch, ScoreAnswers, TokensInput
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    load_failed,
    require_only,
    take,
)
from sie_server.backends.forward.token_inputs import TokenLimits, read_tokens
from sie_server.weights.graph_files import files_beside
from sie_server.weights.tokenizer_file import own_tokenizer, read_tokenizer, require_room

__all__ = ["OnnxCrossEncoder", "load"]

_GRAPH: Final = "model.onnx"
_TYPES: Final = 2
"""The query's tokens and the document's."""
_TOKENS_MAX_DEFAULT: Final = 512
"""Positions of the BERT family: an ONNX file does not tell its own."""
_Pair: TypeAlias = tuple[Tensor, Tensor | None]
"""Ids, and their types where a graph takes them."""
_SESSION_ERRORS: Final = (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile, NotImplemented)


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Open the graph and the tokenizer. Raises MODEL_LOAD_FAILED."""
    require_only(spec, "score")
    name = str(spec.profile.options.get("file", _GRAPH))
    path = spec.weights.file(name)
    # A graph may keep its weights in files of their own, which ONNX Runtime opens by itself.
    beside = {
        spec.weights.file(posixpath.normpath(posixpath.join(posixpath.dirname(name), each)))
        for each in files_beside(path)
    }
    session = _session(path, device)
    missing = {"input_ids", "attention_mask"} - {node.name for node in session.get_inputs()}
    if missing:
        raise load_failed(f"{path} does not take {sorted(missing)}: it is no text encoder's graph")
    # Weights in files beside the graph were not counted once, and are most of it.
    memory_bytes = sum(each.stat().st_size for each in {path, *beside})
    return OnnxCrossEncoder(spec, session, memory_bytes)


def _session(path: Path, device: DeviceSpec) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
    # The parts of an encoder's graph follow one another: more threads would only wait.
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    if device.name.startswith("cuda"):
        providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except _SESSION_ERRORS as error:
        raise load_failed(f"ONNX Runtime cannot open {path}: {error}; restore the file") from error


class OnnxCrossEncoder(WithoutAdapters):
    """One graph, owned by the device's thread."""

    name = "onnx-cross-encoder"

    def __init__(self, spec: ModelSpec, session: Any, memory_bytes: int) -> None:
        self._spec = spec
        self._session = session
        self._memory_bytes = memory_bytes
        self._inputs = frozenset(node.name for node in session.get_inputs())
        self._tokens_max = spec.profile.max_sequence_length or _TOKENS_MAX_DEFAULT
        self._tokenizer, _ = own_tokenizer(spec.weights.folder)
        require_room(self._tokenizer.path, self._tokens_max, is_pair=True)
        native = read_tokenizer(self._tokenizer.path, tokens_max=self._tokens_max)
        self._limits = TokenLimits(
            # Not their number: some vocabularies have gaps.
            vocabulary=1 + max(native.get_vocab().values(), default=0),
            types=_TYPES if "token_type_ids" in self._inputs else 0,
            tokens_max=self._tokens_max,
        )

    def describe(self) -> Loaded:
        """Token ids of pairs in, one score out."""
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="tokens",
            tokenizer_path=str(self._tokenizer.path),
            tokenizer_sha256=self._tokenizer.sha256,
            truncation_side=self._tokenizer.truncation_side,
            max_sequence_length=self._tokens_max,
            cost_unit="tokens",
            execution="padded",
            reason="ONNX graphs run padded"
            if self._spec.profile.batch_invariant
            else "one pair a call: batch-mates would change an answer",
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
        )

    def memory_bytes(self) -> int:
        """Bytes of the graph's files, which its weights dominate."""
        return self._memory_bytes

    def run(self, batch: RunBatch) -> Answers:
        """One score for each pair, in order."""
        self.require(batch, "score")
        ids, types = read_tokens(take(batch, TokensInput), self._limits)
        pairs = list(zip(ids, types, strict=True))
        scores = np.concatenate([self._scores(call) for call in self._calls(pairs)])
        return ScoreAnswers(scores.astype("<f4", copy=False).tobytes())

    def _calls(self, pairs: Sequence[_Pair]) -> Iterator[Sequence[_Pair]]:
        if self._spec.profile.batch_invariant:
            yield pairs
        else:
            yield from ([pair] for pair in pairs)

    def _scores(self, pairs: Sequence[_Pair]) -> NDArray[np.float32]:
        feed = {
            "input_ids": _padded([ids for ids, _ in pairs]),
            "attention_mask": _padded([torch.ones_like(ids) for ids, _ in pairs]),
            "token_type_ids": _padded(
                [torch.zeros_like(ids) if types is None else types for ids, types in pairs]
            ),
        }
        known = {name: value for name, value in feed.items() if name in self._inputs}
        logits: NDArray[np.float32] = self._session.run(None, known)[0]
        # A head with several classes has no single score: its last is the relevant one.
        return logits.reshape(len(pairs), -1)[:, -1]


def _padded(rows: Sequence[Tensor]) -> NDArray[np.int64]:
    table = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row.numpy()
    return table
