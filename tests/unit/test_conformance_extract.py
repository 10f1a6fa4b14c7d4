"""Entities of token classifiers, against transformers' own pipeline, and where that is wrong.

The models are small and random, with tokenizers of seven families that are made in the test; or
fitted to sentences whose entities are given. Each difference from the pipeline has its reason.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.encoder_models import DEVICE
from tests.support.entity_models import CORPUS, FAMILIES, HOSTILE, fit, write_classifier
from tests.support.extracting import extracted
from tests.support.sameness import assert_same
from tests.support.told_spans import OFFSET_UNITS, assert_spans_of
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from sie_core.options import check_request
from sie_schemas import ipc
from sie_schemas.documents import SYNONYMS, ExtractTask, ProfileDocument, Tasks, admit_document
from sie_schemas.errors import FixRequest, OurFault
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.extraction.characters import whole
from sie_server.backends.extraction.spans import Aggregation, Token, spans
from sie_server.backends.extraction.tags import read_tags
from sie_server.backends.names import load_backend, options_of
from sie_server.weights.sources import Weights

_BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-DATE-TIME", "I-DATE-TIME")
_SPACED = (
    "Tim Cook spoke in Berlin and went to Lisbon",
    "Ada Lovelace and Charles Babbage lived in London",
    "unaffordable microscopes   and two blanks",
    "Müller in naïve Москва ß",
)


def _load(
    folder: Path, *, extract: ExtractTask | None = None, length: int | None = None, **options: Any
) -> Backend:
    profile = ProfileDocument(
        backend="token-classification", options=options, max_sequence_length=length
    )
    tasks = Tasks(extract=extract or ExtractTask())
    spec = ModelSpec("test/model", "r1", Weights(folder, None), tasks, profile)
    return load_backend(spec, replace(DEVICE, adapters=AdapterShelf(), verdicts={}))


def _run(
    backend: Backend, *texts: str, labels: Sequence[str] = (), **options: Any
) -> list[list[dict[str, Any]]]:
    check_request(options, options_of("token-classification"), "extract", model="test/model")
    answers = extracted(ipc.EntityAnswers, backend, texts, labels, options)
    return [list(found) for found in answers.entities]


def _told(found: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["text"], one["label"]) for one in found]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    made = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    for family, folder in made.items():
        write_classifier(folder, family, _BIO)
    return made


@pytest.fixture(scope="module")
def backends(folders) -> dict[str, Backend]:
    return {family: _load(folder) for family, folder in folders.items()}


# ---- the pipeline -------------------------------------------------------------------------------


class _Reference:
    """Transformers' pipeline on the same files.

    A blank token is given an empty place: SentencePiece's would have that of the character behind
    it, and an entity of it alone would be told as that character.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForTokenClassification.from_pretrained(folder).eval()
        self._pipeline = pipeline("token-classification", model=model, tokenizer=self.tokenizer)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Each token's place in the text."""
        read: Any = self.tokenizer(text, return_offsets_mapping=True)
        tokens = self.tokenizer.convert_ids_to_tokens(read["input_ids"])
        return [
            (start, start)
            if token.strip("▁") == "" or not text[start:stop].strip()
            else (start, stop)
            for token, (start, stop) in zip(tokens, read["offset_mapping"], strict=True)
        ]

    def cuts_characters(self, text: str) -> bool:
        """Does a token end inside what a reader sees as one character?"""
        places = [place for place in self.places(text) if place[0] < place[1]]
        shared = any(after[0] < before[1] for before, after in pairwise(places))
        return shared or any(whole(text, *place) != place for place in places)

    def entities(self, text: str, aggregation: str) -> list[dict[str, Any]]:
        found: Any = self._pipeline(
            text, aggregation_strategy=aggregation, offset_mapping=[self.places(text)]
        )
        told = []
        for one in found:
            part = text[one["start"] : one["end"]]
            start = one["start"] + len(part) - len(part.lstrip())
            stop = start + len(part.strip())
            if start < stop:
                label = one["entity_group"]
                told.append({"start": start, "end": stop, "label": label, "score": one["score"]})
        return told


def _assert_as_reference(
    found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]
) -> None:
    names = ("start", "end", "label")
    assert [[one[name] for name in names] for one in found] == [
        [one[name] for name in names] for one in expected
    ]
    if expected:
        assert_same(
            np.array([one["score"] for one in found]),
            np.array([float(one["score"]) for one in expected]),
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_spans_are_the_pipelines(family, folders, backends):
    reference = _Reference(folders[family])
    texts = [
        text
        for text in (*CORPUS, *_SPACED, *" ".join(CORPUS).split(". "))
        if not reference.cuts_characters(text)
    ]
    assert len(texts) >= 9
    for text, found in zip(texts, _run(backends[family], *texts), strict=True):
        _assert_as_reference(found, reference.entities(text, "simple"))
    assert sum(len(found) for found in _run(backends[family], *texts)) > 50


@pytest.mark.parametrize("family", ["privacy-filter"])
def test_spans_of_a_rare_family_are_the_pipelines(family, tmp_path):
    """openai/privacy-filter: experts, windows in both directions, and sinks of attention."""
    write_classifier(tmp_path, family, _BIO)
    backend, reference = _load(tmp_path), _Reference(tmp_path)
    texts = [text for text in CORPUS if not reference.cuts_characters(text)]
    for text, found in zip(texts, _run(backend, *texts), strict=True):
        _assert_as_reference(found, reference.entities(text, "simple"))
    assert sum(len(found) for found in _run(backend, *texts)) > 20


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("aggregation", ["first", "max", "average"])
@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_aggregated_as_the_pipeline_does(family, aggregation, folders, backends):
    reference = _Reference(folders[family])
    texts = list(_SPACED)
    if family.startswith("bert"):
        # Word pieces know words also at punctuation and between ideographs.
        texts += [*CORPUS[:3], "习近平访问了柏林。"]
    # The pipeline begins a word at each byte of a character behind a blank.
    texts = [text for text in texts if not reference.cuts_characters(text)]
    assert len(texts) >= 3
    for text, found in zip(
        texts, _run(backends[family], *texts, aggregation=aggregation), strict=True
    ):
        _assert_as_reference(found, reference.entities(text, aggregation))


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("aggregation", ["first", "max", "average"])
@pytest.mark.parametrize("family", ["deberta-v3", "xlm-roberta"])
def test_a_piece_that_is_unknown_begins_no_word(family, aggregation, folders, backends):
    """The pipeline takes the letters behind it for another word: `Zo` and `ë` are two there."""
    reference = _Reference(folders[family])
    texts = ["Zoë met Qwerty Xyz in Köln", "Tim Čapek spoke in Łódź"]
    split = [reference.entities(text, aggregation) for text in texts]
    reference.tokenizer.unk_token = None
    joined = [reference.entities(text, aggregation) for text in texts]
    assert split != joined, "a word of these has a piece that is unknown"
    for found, expected in zip(
        _run(backends[family], *texts, aggregation=aggregation), joined, strict=True
    ):
        _assert_as_reference(found, expected)


# ---- where the pipeline is wrong ----------------------------------------------------------------

_SENTENCES = (
    ("Tim Cook spoke in Berlin.", [("Tim Cook", "PER"), ("Berlin", "LOC")]),
    ("Tim Cook went to Berlin!", [("Tim Cook", "PER"), ("Berlin", "LOC")]),
    ("(Berlin), Lisbon; Tim Cook!", [("Berlin", "LOC"), ("Lisbon", "LOC"), ("Tim Cook", "PER")]),
    ("习近平访问了柏林。", [("习近平", "PER"), ("柏林", "LOC")]),
)


def _bio(kind: str, place: int, count: int) -> str:
    return f"{'I' if place else 'B'}-{kind}"


def _bounded(alone: str, end: str) -> Any:
    def tag(kind: str, place: int, count: int) -> str:
        if count == 1:
            return f"{alone}-{kind}"
        return f"{'B' if place == 0 else end if place == count - 1 else 'I'}-{kind}"

    return tag


def _names(prefixes: str, *kinds: str) -> list[str]:
    return ["O", *(f"{prefix}-{kind}" for kind in kinds for prefix in prefixes)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fitted_models_spans_are_the_names_and_nothing_beside_them(family, tmp_path):
    """Blanks before a token, punctuation behind a name and scripts without blanks."""
    fit(tmp_path, family, _names("BI", "PER", "LOC"), _SENTENCES, _bio)
    found = _run(_load(tmp_path), *(text for text, _ in _SENTENCES))
    assert [_told(each) for each in found] == [list(entities) for _, entities in _SENTENCES]


@pytest.mark.parametrize("aggregation", ["first", "max", "average"])
@pytest.mark.parametrize("family", ["xlm-roberta", "qwen3", "llama"])
def test_a_word_ends_at_punctuation_and_in_scripts_without_blanks(family, aggregation, tmp_path):
    """The pipeline takes all that stands between blanks for one word: `Berlin.`, a sentence."""
    fit(tmp_path, family, _names("BI", "PER", "LOC"), _SENTENCES, _bio)
    found = _run(_load(tmp_path), *(text for text, _ in _SENTENCES), aggregation=aggregation)
    assert [_told(each) for each in found] == [list(entities) for _, entities in _SENTENCES]


@pytest.mark.parametrize(("prefixes", "alone", "end"), [("BIES", "S", "E"), ("BILU", "U", "L")])
@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "qwen3"])
def test_begins_and_ends_are_read_in_the_schemes_that_have_them(
    family, prefixes, alone, end, tmp_path
):
    """The pipeline knows `B-` and `I-` only, and cuts an entity before its end."""
    names = _names(prefixes, "PER", "LOC")
    fit(tmp_path, family, names, _SENTENCES[:3], _bounded(alone, end))
    backend = _load(tmp_path)
    texts = [text for text, _ in _SENTENCES[:3]]
    assert [_told(each) for each in _run(backend, *texts)] == [
        list(entities) for _, entities in _SENTENCES[:3]
    ]
    for label in ("LOC", f"{alone}-LOC", "B-LOC"):
        assert _told(_run(backend, texts[0], labels=[label])[0]) == [("Berlin", "LOC")]


def test_a_kind_that_is_named_as_what_is_outside_is_told(tmp_path):
    """The pipeline leaves out every entity whose kind is `O`."""
    sentences = [("Tim Cook spoke in Berlin.", [("Tim Cook", "PER"), ("Berlin", "O")])]
    fit(tmp_path, "bert", _names("BI", "PER", "O"), sentences, _bio)
    backend = _load(tmp_path)
    assert _told(_run(backend, sentences[0][0])[0]) == [("Tim Cook", "PER"), ("Berlin", "O")]
    assert _told(_run(backend, sentences[0][0], labels=["O"])[0]) == [("Berlin", "O")]


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["O", "B-PER", "I-PER"], [None, "PER", "PER"]),
        (["O", "I-PER", "I-LOC"], [None, "PER", "LOC"]),
        (["O", "PER", "LOC"], [None, "PER", "LOC"]),
        (["NOUN", "VERB"], ["NOUN", "VERB"]),
        (["O", "B-DATE-TIME", "I-DATE-TIME"], [None, "DATE-TIME", "DATE-TIME"]),
        (["O", "DATE-TIME", "E-MAIL"], [None, "DATE-TIME", "E-MAIL"]),
        (["O", "E-MAIL", "S-BAHN"], [None, "E-MAIL", "S-BAHN"]),
        (["O", "I-94", "VISA"], [None, "I-94", "VISA"]),
        (["O", "B-CELL", "T-CELL"], [None, "B-CELL", "T-CELL"]),
        (["O", "B-PER", "I-PER", "E-MAIL"], [None, "PER", "PER", "E-MAIL"]),
        (["O", "B-PER", "E-PER", "S-PER", "S-X"], [None, "PER", "PER", "PER", "X"]),
        (["O", "B-PER", "M-PER", "E-PER"], [None, "PER", "PER", "PER"]),
        (["O", "B-PER", "I-PER", "MISC"], [None, "PER", "PER", "MISC"]),
        (["O", "B-O", "I-O"], [None, "O", "O"]),
        (["O", "B-", "-"], [None, "B-", "-"]),
    ],
)
def test_a_letter_before_a_hyphen_is_a_prefix_only_where_the_names_bear_it_out(names, kinds):
    assert [tag.kind for tag in read_tags(names)] == kinds


def _labelled(*labels: tuple[int, int, str]) -> tuple[list[Token], list[Any]]:
    names = sorted({name for _, _, name in labels})
    rows = np.eye(len(names)) * 0.5 + 0.25
    tokens = [Token(start, stop, rows[names.index(name)]) for start, stop, name in labels]
    return tokens, read_tags(names)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("I-A I-A O I-A", ["0-2 A", "3-4 A"]),
        ("B-A B-A I-A", ["0-1 A", "1-3 A"]),
        ("I-A B-A I-B B-B", ["0-1 A", "1-2 A", "2-3 B", "3-4 B"]),
        ("B-A E-A I-A S-A B-A", ["0-2 A", "2-3 A", "3-4 A", "4-5 A"]),
        ("B-A L-A E-A O", ["0-2 A", "2-3 A"]),
        ("A A B O A", ["0-2 A", "2-3 B", "4-5 A"]),
    ],
)
def test_an_entity_goes_on_until_another_begins_or_it_ends(labels, expected):
    names = labels.split()
    tokens, tags = _labelled(*((place, place + 1, name) for place, name in enumerate(names)))
    found = spans("x" * len(names), tokens, tags)
    assert [f"{start}-{stop} {kind}" for start, stop, kind, _ in found] == expected


def test_tokens_that_share_a_character_are_one_piece_and_blank_ones_have_no_place():
    """The pipeline would tell one character twice, and a blank as an entity."""
    text = "a😀 e\u0301b"
    tokens, tags = _labelled(
        (0, 1, "O"),
        (1, 2, "O"),
        (1, 2, "B-A"),
        (1, 2, "B-B"),
        (2, 3, "B-A"),
        (3, 4, "I-B"),
        (4, 5, "I-A"),
        (5, 6, "I-A"),
    )
    found = [(text[start:stop], kind) for start, stop, kind, _ in spans(text, tokens, tags)]
    assert found == [("😀", "A"), ("e\u0301", "B"), ("b", "A")]


# ---- laws ---------------------------------------------------------------------------------------

_READABLE = st.lists(st.one_of(HOSTILE, st.sampled_from(CORPUS)), min_size=1, max_size=4)


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=_READABLE, aggregation=st.sampled_from(get_args(Aggregation)))
def test_every_span_is_a_part_of_the_text_and_cuts_no_character(
    family, backends, texts, aggregation
):
    told = {
        unit: _run(backends[family], *texts, aggregation=aggregation, offset_unit=unit)
        for unit in OFFSET_UNITS
    }
    for place, text in enumerate(texts):
        assert_spans_of(text, {unit: found[place] for unit, found in told.items()})
    found = told["characters"]
    some = _run(backends[family], *texts, aggregation=aggregation, labels=["LOC"], threshold=0.5)
    assert some == [
        [one for one in each if one["label"] == "LOC" and one["score"] >= 0.5] for each in found
    ]


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> dict[str, tuple[Backend, Backend]]:
    """Models in which a token's label depends on it alone: one reads all, one 24 tokens."""
    made = {}
    for family in ("bert", "xlm-roberta", "qwen3", "llama"):
        folder = tmp_path_factory.mktemp(family)
        model = write_classifier(folder, family, _BIO)
        for name, weight in model.named_parameters():
            if "attention.output.dense" in name or "o_proj" in name or "position_emb" in name:
                weight.data.zero_()
        model.save_pretrained(folder)
        made[family] = (_load(folder), _load(folder, length=24))
    return made


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "qwen3", "llama"])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=_READABLE, aggregation=st.sampled_from(get_args(Aggregation)))
def test_windows_tell_what_a_model_tells_that_reads_the_whole(family, local, texts, aggregation):
    reads_all, reads_parts = local[family]
    expected = _run(reads_all, *texts, aggregation=aggregation)
    found = _run(reads_parts, *texts, aggregation=aggregation)
    for own, other in zip(found, expected, strict=True):
        _assert_as_reference(own, other)


def test_what_is_just_as_likely_as_the_threshold_is_told(backends):
    every = _run(backends["bert"], *_SPACED)
    scores = sorted(one["score"] for found in every for one in found)
    least = scores[len(scores) // 2]
    likely = [[one for one in found if one["score"] >= least] for found in every]
    assert _run(backends["bert"], *_SPACED, threshold=least) == likely


def test_the_tokens_that_were_read_are_counted(backends):
    answers = extracted(ipc.EntityAnswers, backends["bert"], ("Tim Cook", ""))
    assert answers.tokens == (4, 0)


# ---- labels -------------------------------------------------------------------------------------


def test_the_words_of_published_clients_mean_the_models_labels(folders):
    """`person`, `organization`, `location`: by the table of the document, in any case."""
    extract = ExtractTask(synonyms={word: SYNONYMS[word] for word in SYNONYMS})
    backend = _load(folders["bert"], extract=extract)
    text = " ".join(CORPUS[:2])
    every = _run(backend, text)[0]
    assert {one["label"] for one in every} >= {"PER", "LOC"}
    assert _run(backend, text, labels=["person", "LOCATION"])[0] == [
        one for one in every if one["label"] in {"PER", "LOC"}
    ]
    with pytest.raises(FixRequest, match="no label 'organization'; its labels are DATE-TIME, LOC"):
        _run(backend, text, labels=["person", "organization"])
    with pytest.raises(FixRequest, match="no label 'person'"):
        _run(_load(folders["bert"]), text, labels=["person"])
    with pytest.raises(OurFault, match=r"tasks\.extract\.labels of the config: .*'drug'"):
        _load(folders["bert"], extract=ExtractTask(labels=("drug",)))
    only = _load(folders["bert"], extract=ExtractTask(labels=("LOC",)))
    assert {one["label"] for one in _run(only, text)[0]} == {"LOC"}


def test_a_document_that_is_written_gets_the_table_and_keeps_its_own():
    document: dict[str, Any] = {
        "model_id": "a/b",
        "source": {"type": "hub", "id": "a/b", "revision": "0" * 40},
        "tasks": {"extract": {}},
        "profiles": {"default": {"backend": "token-classification"}},
    }
    admitted = admit_document("model", document)
    table = admitted["tasks"]["extract"]["synonyms"]
    assert table["person"] == ["PERSON", "PER"]
    assert admit_document("model", admitted) == admitted
    for own in ({}, {"human": ["PER"]}):
        document["tasks"] = {"extract": {"synonyms": own}}
        assert admit_document("model", document)["tasks"]["extract"]["synonyms"] == own
    document["tasks"] = {"encode": {}}
    assert "extract" not in admit_document("model", document)["tasks"]


# ---- options ------------------------------------------------------------------------------------


def test_an_option_that_is_not_there_is_refused_with_the_nearest_one(folders, backends):
    for wrong, words in (
        ({"agregation": "max"}, "did you mean 'aggregation'"),
        ({"aggregation": "none"}, "one of simple, first"),
        ({"offset_unit": "utf8"}, "one of characters, utf16"),
        ({"threshold": 2}, "a number from 0 to 1"),
        ({"threshold": True}, "a number from 0 to 1"),
    ):
        with pytest.raises(FixRequest, match=words):
            _run(backends["bert"], "Tim", **wrong)
        with pytest.raises(OurFault, match=words):
            _load(folders["bert"], **wrong)
    text = " ".join(CORPUS)
    by_profile = _load(folders["bert"], aggregation="average", offset_unit="bytes")
    assert _run(by_profile, text) == _run(
        backends["bert"], text, aggregation="average", offset_unit="bytes"
    )
    assert _run(by_profile, text, aggregation="simple", offset_unit="characters") == _run(
        backends["bert"], text
    )
