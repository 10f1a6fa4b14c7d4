"""The backend `onnx-cross-encoder`: scores pairs of texts with an ONNX graph.

*shell* over one ONNX Runtime session and its tokenizer. Takes pairs and tokenizes itself. Where the
profile says that batch-mates change an answer (dynamically quantised graphs do), each pair is a
call of its own. Scores are the graph's logits.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,
)
from tokenizers import Encoding

from sie_schemas.ipc import Answers, Loaded, PairInput, RunBatch, ScoreAnswers
from sie_server.backends.backend import (
    Backend,
    DeviceSpec,
    ModelSpec,
    WithoutAdapters,
    load_failed,
    require_operation,
    take,
)
from sie_server.weights.tokenizer_file import read_tokenizer, require_room

__all__ = ["OnnxCrossEncoder", "load"]

_GRAPH: Final = "model.onnx"
_TOKENIZER: Final = "tokenizer.json"
_TOKENS_MAX_DEFAULT: Final = 512
"""Positions of the BERT family: an ONNX file does not tell its own."""
_SESSION_ERRORS: Final = (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile, NotImplemented)


def load(spec: ModelSpec, device: DeviceSpec) -> Backend:
    """Open the graph and the tokenizer. Raises MODEL_LOAD_FAILED."""
    if spec.tasks.score is None:
        raise load_failed("the backend onnx-cross-encoder does `score` only")
    path = spec.weights.file(str(spec.profile.options.get("file", _GRAPH)))
    session = _session(path, device)
    missing = {"input_ids", "attention_mask"} - {node.name for node in session.get_inputs()}
    if missing:
        raise load_failed(f"{path} does not take {sorted(missing)}: it is no text encoder's graph")
    return OnnxCrossEncoder(spec, session, path.stat().st_size)


def _session(path: Path, device: DeviceSpec) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.threads
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

    def __init__(self, spec: ModelSpec, session: Any, graph_bytes: int) -> None:
        self._spec = spec
        self._session = session
        self._graph_bytes = graph_bytes
        self._inputs = frozenset(node.name for node in session.get_inputs())
        self._tokens_max = spec.profile.max_sequence_length or _TOKENS_MAX_DEFAULT
        path = spec.weights.folder / _TOKENIZER
        require_room(path, self._tokens_max, is_pair=True)
        self._tokenizer = read_tokenizer(path, tokens_max=self._tokens_max)

    def describe(self) -> Loaded:
        """Pairs of texts in, one score out."""
        return Loaded(
            id=0,
            revision=self._spec.revision,
            accepts="pair",
            max_sequence_length=self._tokens_max,
            cost_unit="bytes4",
            execution="padded",
            reason="ONNX graphs run padded"
            if self._spec.profile.batch_invariant
            else "one pair a call: batch-mates would change an answer",
            batch_invariant=self._spec.profile.batch_invariant,
            memory_bytes=self.memory_bytes(),
        )

    def memory_bytes(self) -> int:
        """Bytes of the graph's file, which its weights dominate."""
        return self._graph_bytes

    def run(self, batch: RunBatch) -> Answers:
        """One score for each pair, in order."""
        require_operation(batch, self._spec.model_id, "score")
        self.require_base(batch)
        pairs = take(batch, PairInput)
        encodings = self._tokenizer.encode_batch([(pair.query, pair.text) for pair in pairs])
        scores = np.concatenate([self._scores(call) for call in self._calls(encodings)])
        return ScoreAnswers(
            scores.astype("<f4", copy=False).tobytes(),
            tokens=tuple(len(encoding.ids) for encoding in encodings),
        )

    def _calls(self, encodings: Sequence[Encoding]) -> Iterator[Sequence[Encoding]]:
        if self._spec.profile.batch_invariant:
            yield encodings
        else:
            yield from ([encoding] for encoding in encodings)

    def _scores(self, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
        feed = {
            "input_ids": _padded([encoding.ids for encoding in encodings]),
            "attention_mask": _padded([encoding.attention_mask for encoding in encodings]),
            "token_type_ids": _padded([encoding.type_ids for encoding in encodings]),
        }
        known = {name: value for name, value in feed.items() if name in self._inputs}
        logits: NDArray[np.float32] = self._session.run(None, known)[0]
        # A head with several classes has no single score: its last is the relevant one.
        return logits.reshape(len(encodings), -1)[:, -1]


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    table = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table
