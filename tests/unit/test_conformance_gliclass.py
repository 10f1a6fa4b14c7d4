"""Classes for any labels in one pass, against the authors' library on random models.

It is installed apart, as it is in workers that want it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.apart import forgotten
from tests.support.encoder_models import DEVICE, fresh_device
from tests.support.entity_models import CORPUS, HOSTILE
from tests.support.extracting import extracted
from tests.support.gliner_models import write_gliclass
from tests.support.sameness import assert_same

from sie_schemas import ipc
from sie_schemas.documents import ExtractTask, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights
from sie_testing.contracts.backend import BACKEND_CONTRACT, BackendUnderTest

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def _here_alone() -> Iterator[None]:
    with forgotten("gliclass"):
        yield


_LABELS = ("politics", "the economy", "sports")


def _load(folder: Path) -> Backend:
    profile = ProfileDocument(backend="gliclass", max_sequence_length=100)
    spec = ModelSpec(
        "test/model", "r1", Weights(folder, None), Tasks(extract=ExtractTask()), profile
    )
    return load_backend(spec, replace(DEVICE, adapters=AdapterShelf(), verdicts={}))


def _run(
    backend: Backend, texts: Sequence[str], labels: Sequence[str] = _LABELS, **options: Any
) -> ipc.ClassAnswers:
    return extracted(ipc.ClassAnswers, backend, texts, labels, options)


_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "labels first": ("deberta-v3", {"prompt_first": True, "scorer_type": "simple"}),
    "labels last": ("deberta-v3", {"prompt_first": False, "scorer_type": "weighted-dot"}),
    "weighted": ("deberta-v3", {"prompt_first": True, "scorer_type": "weighted-dot"}),
    "layer by layer": ("deberta-v3", {"layer_wise": True, "encoder_layer_id": 1}),
    "modernbert": ("modernbert", {"prompt_first": True}),
    # In a batch their library averages, or takes the last of, the padding too.
    "the mean of a row": ("bert", {"pooling_strategy": "avg"}),
    "the last of a row": ("deberta-v3", {"pooling_strategy": "last", "prompt_first": False}),
    "an encoder that convolves": ("convbert", {}),
}


@pytest.mark.parametrize("case", _CASES)
def test_scores_are_the_librarys(case, tmp_path):
    """The library tells the best of labels that share one, and of others those above a bound."""
    encoder, changes = _CASES[case]
    library = write_gliclass(tmp_path, encoder, **changes)
    backend = _load(tmp_path)
    texts = ["Tim Cook spoke in Berlin.", "Lisbon", "", *CORPUS[:1]]
    shared = _run(backend, texts)
    apart = _run(backend, texts, multi_label=True)
    for place, text in enumerate(texts):
        expected = library([text], list(_LABELS), threshold=0.0)[0]
        expected.sort(key=lambda one: -one["score"])
        found = apart.classes[place]
        assert apart.tokens[place] == _run(backend, [text]).tokens[0], "they are a text's own"
        assert [one["label"] for one in found] == [one["label"] for one in expected]
        assert_same(
            np.array([one["score"] for one in found]), np.array([one["score"] for one in expected])
        )
        (best,) = library([text], list(_LABELS), classification_type="single-label")[0]
        assert shared.classes[place][0]["label"] == best["label"]
        assert_same(np.array([shared.classes[place][0]["score"]]), np.array([best["score"]]))
        assert abs(sum(one["score"] for one in shared.classes[place]) - 1) < 1e-6


def test_labels_are_never_cut_and_marks_in_a_text_are_refused(tmp_path):
    """The library cuts the labels where these come behind a long text, and counts others' marks."""
    library = write_gliclass(tmp_path, prompt_first=False)
    backend = _load(tmp_path)
    answers = _run(backend, ["Tim Cook " * 200])
    assert len(answers.classes[0]) == len(_LABELS)
    assert answers.tokens[0] <= 100
    short = "Tim Cook " * 3
    expected = library([short], list(_LABELS), threshold=0.0)[0]
    assert {one["label"] for one in expected} == set(_LABELS)
    for text, labels in (("a <<LABEL>> b", _LABELS), ("a", ("x <<SEP>>",))):
        with pytest.raises(FixRequest, match="one of the model's marks"):
            _run(backend, [text], labels)
    with pytest.raises(FixRequest, match="name fewer"):
        _run(backend, ["a"], [f"label {number}" for number in range(90)])
    with pytest.raises(OurFault, match=r"gliclass cannot load|is run here"):
        config = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(
            config.replace(
                '"architecture_type": "uni-encoder"', '"architecture_type": "bi-encoder"'
            )
        )
        _load(tmp_path)


def test_equal_labels_each_have_a_score_as_the_library_gives_them(tmp_path):
    library = write_gliclass(tmp_path)
    labels = ("sports", "{}", "sports", " sports", "e\u0301", "\u00e9", "[SEP]", "a, b", "<<sep>>")
    [found] = _run(_load(tmp_path), ["Tim Cook"], labels, multi_label=True).classes
    expected = library(["Tim Cook"], list(labels), threshold=0.0)[0]
    expected.sort(key=lambda one: -one["score"])
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    scores, wanted = (np.array([one["score"] for one in each]) for each in (found, expected))
    assert_same(scores, wanted)


@pytest.fixture(scope="module")
def of_bytes(tmp_path_factory) -> tuple[Backend, Any]:
    """A model that reads its labels last, and the library on it without a bound."""
    folder = tmp_path_factory.mktemp("bytes")
    library = write_gliclass(folder, "modernbert-bytes", prompt_first=False)
    library.pipe.max_length = 250
    return _load(folder), library


@settings(max_examples=10, deadline=None)
@given(texts=st.lists(st.lists(HOSTILE, max_size=6).map("".join), min_size=1, max_size=3))
@example(texts=["x" + "習" * 120, "é" * 120])
def test_a_text_is_cut_until_it_and_every_label_are_read_whole(of_bytes, texts):
    """A text that was cut inside a character of many bytes has other tokens, and more of them."""
    backend, library = of_bytes
    texts = [text.replace("<<", "") for text in texts]
    together = _run(backend, texts, multi_label=True)
    for text, found, count in zip(texts, together.classes, together.tokens, strict=True):
        assert count <= 100
        read = backend._cut(text, _LABELS)
        assert text.startswith(read)
        expected = library([read], list(_LABELS), threshold=0.0)[0]
        told = {one["label"]: one["score"] for one in expected}
        assert {one["label"] for one in found} == set(_LABELS)
        assert_same(
            np.array([one["score"] for one in found]),
            np.array([told[one["label"]] for one in found]),
        )


@pytest.mark.parametrize("promise", BACKEND_CONTRACT, ids=lambda each: each.__name__)
def test_it_keeps_the_contract_of_backends(promise, tmp_path):
    write_gliclass(tmp_path)
    profile = ProfileDocument(backend="gliclass", max_sequence_length=100)
    tasks = Tasks(extract=ExtractTask(labels=_LABELS))
    spec = ModelSpec("test/model", "r1", Weights(tmp_path, None), tasks, profile)
    promise(BackendUnderTest.loaded(spec, fresh_device(), "extract"))
