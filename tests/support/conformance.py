"""Our answers to texts, by the way of a request: tokens from the sidecar, vectors from a backend.

A folder is read as it is: no option is given but what a test names. `answers` runs it packed, or as
its probe decides, or padded; `expected` is sentence-transformers' on the same files.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tests.support.encoder_models import fresh_device
from tests.support.small_jobs import small_job

from sie_schemas import ipc
from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest
from sie_schemas.items import Item
from sie_server.backends.backend import Backend, ModelSpec, Verdict
from sie_server.backends.encode import transformer
from sie_server.tolerances import disagreement
from sie_server.weights.sources import Weights
from sie_worker.forms.tokenizing import Tokenizer, prepare

__all__ = ["TEXTS", "Answerer", "Call", "assert_as_reference", "load", "save_small"]

Call = Literal["encode", "query", "document"]

TEXTS = (
    "the cat sat on the mat",
    "A Long river: " + "one two three four five six seven eight nine ten " * 3,
    "Money!",
    "it was not about the red house, nor the bank. " * 2,
    "  dog [SEP]  a <pad> mark\n</s> <mask> [PAD] [MASK] of\ttwo ",
)
"""Of several lengths, with capitals, blanks, marks and words that no vocabulary has; one is above
every limit."""


def save_small(folder: Path, model: Any, tokenizer: Any, *, seed: int = 3, **options: Any) -> Path:
    """Save a model with weights that a wrong attention would show, and a tokenizer."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.25)
            else:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    model.save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder


def load(
    folder: Path,
    *,
    outputs: Sequence[str] = ("dense",),
    padded: bool = False,
    hub_name: str = "",
    **profile: Any,
) -> Backend:
    """The backend of a folder. Raises MODEL_LOAD_FAILED."""
    tasks = Tasks(encode=EncodeTask(outputs=tuple(outputs)))  # type: ignore[arg-type]
    document = ProfileDocument(backend="transformer", **{"batch_cost_max": 256, **profile})
    device = fresh_device()
    if padded:
        device.verdicts[(folder, "r1")] = Verdict("padded", "a test wants it so")
    return transformer.load(
        ModelSpec("test/model", "r1", Weights(folder, None, hub_name=hub_name), tasks, document),
        device,
    )


class Answerer:
    """One loaded folder that answers texts."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.loaded = backend.describe()
        self._tokenizer = Tokenizer.read(self.loaded)

    def vectors(self, texts: Sequence[str], call: Call = "document") -> NDArray[np.float32]:
        """One row for each text: a dense vector, or a sparse one written out."""
        return self.answered(self.inputs(texts, call))

    def answered(self, inputs: Sequence[ipc.Input], **options: Any) -> NDArray[np.float32]:
        """One row for each input, all in one batch with these options."""
        batch = ipc.RunBatch(
            id=1, model_revision="r1", operation="encode", inputs=tuple(inputs), options=options
        )
        match self.backend.run(batch):
            case ipc.DenseAnswers(dim=dim, values=values):
                return np.frombuffer(values, "<f4").reshape(len(inputs), dim)
            case ipc.EncodeAnswers(sparse=ipc.SparseAnswers() as sparse):
                return _written_out(sparse, self.loaded.dims["sparse"])
            case answers:
                raise AssertionError(f"no vectors: {answers!r}")

    def inputs(self, texts: Sequence[str], call: Call) -> Sequence[ipc.Input]:
        """The inputs that the sidecar makes of texts. Raises `FixRequest` of a text it refuses."""
        options = {} if call == "encode" else {"is_query": call == "query"}
        job = small_job(items=tuple(Item(text=text) for text in texts), options=options)
        prepared = prepare(job, self.loaded, self._tokenizer)
        if prepared.failures:
            raise FixRequest(prepared.failures[0].message)
        return [given for _, given, _ in prepared.inputs]


def _written_out(sparse: ipc.SparseAnswers, width: int) -> NDArray[np.float32]:
    counts = np.frombuffer(sparse.counts, "<i4")
    rows = np.zeros((len(counts), width), np.float32)
    owners = np.repeat(np.arange(len(counts)), counts)
    rows[owners, np.frombuffer(sparse.indices, "<i4")] = np.frombuffer(sparse.values, "<f4")
    return rows


def assert_as_reference(
    reference: Any, calls: Mapping[Call, Sequence[str]], *answerers: Answerer
) -> None:
    """Each text alone and all together, as the reference answers each text alone."""
    for call, texts in calls.items():
        encode = {"encode": "encode", "query": "encode_query", "document": "encode_document"}[call]
        expected = torch.stack(
            [
                torch.as_tensor(getattr(reference, encode)([text], convert_to_tensor=True)[0])
                for text in texts
            ]
        )
        expected = (expected.to_dense() if expected.is_sparse else expected).float()
        for answerer in answerers:
            said = f"{answerer.loaded.execution}, {call}"
            together = torch.from_numpy(np.array(answerer.vectors(texts, call)))
            reason = disagreement(together, expected, torch.float32)
            assert not reason, f"{said}, together: {reason}"
            alone = np.concatenate([answerer.vectors([text], call) for text in texts])
            reason = disagreement(torch.from_numpy(alone), expected, torch.float32)
            assert not reason, f"{said}, alone: {reason}"
