"""Entities for any labels, against the authors' library on random models of each architecture.

It is installed apart: its bounds keep out the transformers that the rest runs on.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.support.apart import apart, forgotten
from tests.support.encoder_models import DEVICE, fresh_device
from tests.support.entity_models import CORPUS, HOSTILE
from tests.support.extracting import extracted
from tests.support.gliner_models import SENTENCES, write_gliner
from tests.support.sameness import assert_same
from tests.support.told_spans import OFFSET_UNITS, assert_spans_of

from sie_core.options import check_request
from sie_schemas import ipc
from sie_schemas.documents import ExtractTask, ProfileDocument, Tasks
from sie_schemas.errors import FixRequest, OurFault
from sie_server.adapters.adapter_shelf import AdapterShelf
from sie_server.backends.backend import Backend, ModelSpec
from sie_server.backends.extraction.characters import whole
from sie_server.backends.extraction.gliner.word_windows import word_windows
from sie_server.backends.names import load_backend, options_of
from sie_server.weights.sources import Weights
from sie_testing.contracts.backend import BACKEND_CONTRACT, BackendUnderTest

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True, scope="module")
def _here_alone() -> Iterator[None]:
    with forgotten("gliner"):
        yield


_LABELS = ("person", "location", "a date or a time")


@st.composite
def _texts(draw: Any) -> tuple[list[tuple[int, int]], list[int]]:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=60))
    words, place = [], 0
    for size in sizes:
        words.append((place, place + size))
        place += size + draw(st.integers(0, 2))
    return words, draw(st.lists(st.integers(1, 3), min_size=len(sizes), max_size=len(sizes)))


@given(
    text=_texts(),
    words_max=st.integers(1, 12),
    tokens_max=st.integers(3, 20),
    widest=st.integers(1, 8),
)
def test_windows_of_words_hold_every_word_and_each_place_is_of_one(
    text, words_max, tokens_max, widest
):
    words, pieces = text
    windows = word_windows(words, pieces, words_max, tokens_max, widest)
    for window in windows:
        inside = [
            place
            for place, (start, stop) in enumerate(words)
            if window.start <= start and stop <= window.stop
        ]
        assert 1 <= len(inside) <= words_max
        assert window.tokens == sum(pieces[place] for place in inside) <= tokens_max
    for place, (start, stop) in enumerate(words):
        (owner,) = [window for window in windows if window.tells(start)]
        assert owner.start <= start and stop <= owner.stop
        held = sum(owner.start <= first and last <= owner.stop for first, last in words)
        # Nothing is lost at a seam: what may begin here is whole in the window that tells it.
        for _, after in words[place : place + min(widest, held)]:
            assert held < widest or after <= owner.stop
    if len(words) <= words_max and sum(pieces) <= tokens_max:
        assert len(windows) == 1


def _load(
    folder: Path,
    *,
    extract: ExtractTask | None = None,
    beside: Mapping[str, Weights] | None = None,
    **options: Any,
) -> Backend:
    profile = ProfileDocument(backend="gliner", options=options)
    tasks = Tasks(extract=extract or ExtractTask())
    weights = Weights(folder / "model", None, beside=beside or {})
    spec = ModelSpec("test/model", "r1", weights, tasks, profile)
    return load_backend(spec, replace(DEVICE, adapters=AdapterShelf(), verdicts={}))


def _run(
    backend: Backend, texts: Sequence[str], labels: Sequence[str] = _LABELS, **options: Any
) -> ipc.EntityAnswers:
    check_request(options, options_of("gliner"), "extract", model="test/model")
    return extracted(ipc.EntityAnswers, backend, texts, labels, options)


def _ordered(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of the text, each once: the library tells a span of tokens once for each label
    by which it was found."""
    told = {(one["start"], one["end"], one["label"]): one for one in found}
    return sorted(told.values(), key=lambda one: (one["start"], -one["end"], -one["score"]))


_TIE = 0.0002
_CASES = {
    "one encoder, spans": ("uni-span", "deberta-v3"),
    "one encoder, tokens": ("uni-token", "deberta-v3"),
    "one encoder, bert": ("uni-span", "bert"),
    "one encoder, modernbert": ("uni-span", "modernbert"),
    "two encoders, spans": ("bi-span", "deberta-v3"),
    "two encoders, tokens": ("bi-token", "deberta-v3"),
    "two encoders, modernbert": ("bi-span", "modernbert"),
    # Two of the other ways to see spans: in a batch, and one window at a time.
    "spans of the first marker": ("uni-marker", "deberta-v3"),
    "spans by a filter": ("uni-share", "deberta-v3"),
    # Their library reads the padding of a batch: one tells other scores, the other fails.
    "spans over the padding": ("uni-v1", "deberta-v3"),
    "tokens, and spans of them": ("bi-both", "deberta-v3"),
    # So it does where layers are weighed over a text's whole row, where words are read once more,
    # and where the encoder itself mixes a word with what stands beside it.
    "spans of weighed layers": ("uni-fused", "bert"),
    "tokens of weighed layers": ("bi-fused", "bert"),
    "spans of words read again": ("uni-context", "bert"),
    "an encoder that convolves": ("uni-span", "convbert"),
}


@pytest.mark.parametrize("case", _CASES)
def test_spans_are_the_librarys(case, tmp_path):
    library = write_gliner(tmp_path, *_CASES[case])
    backend = _load(tmp_path)
    texts = [*CORPUS, "", "  "]
    told = 0
    for flat, multi, threshold in ((True, False, 0.5), (False, False, 0.3), (False, True, 0.4)):
        options: dict[str, Any] = {"flat_ner": flat, "multi_label": multi, "threshold": threshold}
        answers = _run(backend, texts, **options)
        for text, found in zip(texts, answers.entities, strict=True):
            expected = _ordered(library.inference([text], list(_LABELS), **options)[0])
            places = [(one["start"], one["end"]) for one in expected]
            if any(whole(text, *each) != each for each in places):
                # It cuts characters, which we do not.
                continue
            names = ("start", "end", "text", "label")
            assert [[one[name] for name in names] for one in found] == [
                [one[name] for name in names] for one in expected
            ]
            assert_same(
                np.array([one["score"] for one in found] or [0]),
                np.array([one["score"] for one in expected] or [0]),
            )
            told += len(found)
        assert answers.tokens[-2:] == (0, 0)
        assert all(answers.tokens[:-2])
    assert told > 10


_ODD_LABELS: dict[str, list[str]] = {
    "many": [f"kind {number}" for number in range(60)],
    "twice": ["person", "location", "person"],
    "in two cases": ["Person", "person", "PERSON"],
    "with blanks": [" person ", "person", "a\tb\nc"],
    "of other scripts": ["città", "人", "\U0001f600", "مكان", "e\u0301"],
    "with marks of tokenizers": ["[SEP]", "a [MASK] b", "</s>", "<pad>"],
    "of what is not seen": ["\u200b", "\xad", "person\x00"],
    "with a description": ["person: a human being, by name", "location: e.g. a town"],
}
_ODD_TEXTS = (
    "",
    " \n",
    "Berlin",
    "\U0001f600",
    "مرحبا تيم كوك",
    "...!?",
    "Tim [SEP] Cook <<ENT>> in",
)


@pytest.mark.parametrize("case", ["one encoder, spans", "two encoders, spans"])
def test_odd_labels_find_what_the_library_finds(case, tmp_path):
    library = write_gliner(tmp_path, *_CASES[case])
    backend = _load(tmp_path)
    told = 0
    for name, labels in _ODD_LABELS.items():
        texts = [*_ODD_TEXTS, SENTENCES[0][0]] if name != "many" else [SENTENCES[0][0]]
        for options in ({"threshold": 0.5}, {"threshold": 1.0}):
            found = _run(backend, texts, labels, **options).entities
            for text, own in zip(texts, found, strict=True):
                expected = _ordered(library.inference([text], labels, **options)[0])
                places = [[one[:3] for one in _places(each)] for each in (own, expected)]
                assert places[0] == places[1], (name, text)
                scores = [[one["score"] for one in each] or [0] for each in (own, expected)]
                assert_same(np.array(scores[0]), np.array(scores[1]))
                told += len(own)
    assert told > 10


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([""], "that are not blank"),
        (["person", " \t"], "that are not blank"),
        (["x"] * 300 + [f"kind {number}" for number in range(300)], "at most 256 words"),
        (["x" * 5000], "has 5000 characters"),
        (["a <<SEP>> b"], "one of the model's marks"),
        (["word " * 800], "LABELS"),
    ],
)
@pytest.mark.parametrize("kind", ["uni-token", "bi-span"])
def test_labels_that_no_library_answers_for_are_refused(kind, labels, said, odd_models):
    """The library drops what is blank and reads past the end of what is too long."""
    if said == "LABELS":
        said = "name fewer" if kind == "uni-token" else "shorter label"
    with pytest.raises(FixRequest, match=said) as refused:
        _run(odd_models[kind], ["Tim Cook"], labels)
    assert refused.value.field == "labels"


@pytest.fixture(scope="module")
def odd_models(tmp_path_factory) -> dict[str, Backend]:
    """A model of each number of encoders."""
    found = {}
    for kind in ("uni-token", "bi-span"):
        folder = tmp_path_factory.mktemp("odd")
        write_gliner(folder, kind, "bert")
        found[kind] = _load(folder)
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> tuple[Backend, Backend]:
    """Models whose word on a word depends on it alone: one reads all, one 12 words at once."""
    folder = tmp_path_factory.mktemp("local")
    write_gliner(folder, "uni-span", words_max=400, local=True)
    reads_all = _load(folder)
    config = folder / "model" / "gliner_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_len": 12}))
    return reads_all, _load(folder)


@settings(max_examples=8, deadline=None)
@given(
    texts=st.lists(st.one_of(HOSTILE, st.sampled_from(CORPUS)), min_size=2, max_size=2),
    flat=st.booleans(),
    multi=st.booleans(),
    threshold=st.sampled_from([0.2, 0.5]),
)
def test_windows_tell_what_a_model_tells_that_reads_the_whole(local, texts, flat, multi, threshold):
    reads_all, reads_parts = local
    options = {"flat_ner": flat, "multi_label": multi, "threshold": threshold}
    texts = [" ".join(texts)]
    # One label: to a model that reads each word by itself all labels are the same mark.
    expected = _run(reads_all, texts, ["person"], **options).entities
    found = _run(reads_parts, texts, ["person"], **options).entities
    for own, other in zip(found, expected, strict=True):
        assert _same_but_for_ties(_places(own), _places(other))
    told = {
        unit: _run(reads_parts, texts, ["person"], offset_unit=unit, **options).entities[0]
        for unit in OFFSET_UNITS
    }
    assert_spans_of(texts[0], told, flat=flat)


def _same_but_for_ties(own: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    """Of spans that overlap the likelier is told, and of two that are as likely either one."""
    return all(
        any(
            start < each[1] and each[0] < end and abs(score - each[3]) < _TIE
            for each in (other if one in own else own)
        )
        for one in set(own) ^ set(other)
        for start, end, _, score in [one]
    )


def _places(found: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one["start"], one["end"], one["label"], round(one["score"], 4)) for one in found]


_PLACES = st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from("abc"))
_CHANCES = st.sampled_from([0.0, 0.2, 0.5, 0.5000001, 0.9, 1.0])


@given(
    scores=st.dictionaries(_PLACES, _CHANCES, max_size=40),
    flat=st.booleans(),
    multi=st.booleans(),
    wide=st.sampled_from([1, 100]),
)
def test_of_candidates_that_overlap_those_are_told_that_the_library_tells(
    scores, flat, multi, wide
):
    """At a cost that does not grow with their square, and with others far off and near."""
    decoder: Any = apart("gliner").decoding.decoder
    spans = [
        (start * wide, (start + width) * wide, label, score)
        for (start, width, label), score in scores.items()
    ]
    from sie_server.backends.extraction.gliner.candidates import without_overlaps

    found = without_overlaps(spans, flat=flat, multi_label=multi)
    whole_spans = [
        decoder.Span(start, stop - 1, label, score) for start, stop, label, score in spans
    ]
    kept = decoder.SpanDecoder(None).greedy_search(whole_spans, flat, multi)
    assert set(found) == {(one.start, one.end + 1, one.entity_type, one.score) for one in kept}
    assert found == sorted(found, key=lambda span: (span[0], -span[1], -span[3]))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**16), threshold=_CHANCES, spread=st.sampled_from([0.0, 1.0, 40.0]))
def test_of_tokens_the_spans_are_found_that_the_library_finds(seed, threshold, spread):
    """Of every beginning with every end it tries those whose words between all fit."""
    decoding: Any = apart("gliner").decoding.decoder
    from sie_server.backends.extraction.gliner.candidates import Candidates

    numbers = torch.Generator().manual_seed(seed)
    logits = torch.randn((2, 9, 3, 3), generator=numbers) * spread
    texts = [list("abcdefghi"), list("abcd")]
    own, library = decoding.TokenDecoder(None), decoding.TokenDecoder(None)
    library.greedy_search = lambda spans, *_, **__: spans
    Candidates(own, "test/model")
    asked = {"threshold": threshold}
    classes = dict(enumerate("abc", 1))
    assert own.decode(texts, classes, logits, **asked) == library.decode(
        texts, classes, logits, **asked
    )


@pytest.mark.parametrize("kind", ["uni-span", "uni-token"])
def test_a_threshold_at_which_everything_is_likely_is_refused_before_it_costs_hours(kind, tmp_path):
    """The library tries each beginning with each end of all labels: a process was held for it."""
    write_gliner(tmp_path, kind, words_max=400)
    backend = _load(tmp_path)
    labels = [f"label {number}" for number in range(120)]
    long, short = "ab cd " * 230, "ab cd " * 5
    with pytest.raises(FixRequest, match="likelier to test/model than the threshold 0: raise it"):
        _run(backend, [long], labels, threshold=0.0)
    told = _run(backend, [short], labels, threshold=0.0, multi_label=True).entities[0]
    assert len(told) == len({(one["start"], one["end"]) for one in told}) * len(labels)


@pytest.mark.parametrize("kind", ["uni-span", "bi-token"])
def test_a_text_of_any_length_is_read_to_its_end(kind, tmp_path):
    library = write_gliner(tmp_path, kind, words_max=12)
    backend = _load(tmp_path)
    text = " ".join(CORPUS[:3])
    whole = _run(backend, [text], threshold=0.2).entities[0]
    cut = library.inference([text], list(_LABELS), threshold=0.2)[0]
    assert max(one["end"] for one in whole) > max(one["end"] for one in cut)
    stopped = 0
    for one in whole:
        assert text[one["start"] : one["end"]] == one["text"]
        assert one["start"] >= stopped
        stopped = one["end"]
    in_bytes = _run(backend, [text], threshold=0.2, offset_unit="bytes").entities[0]
    for one in in_bytes:
        assert text.encode()[one["start"] : one["end"]].decode() == one["text"]


def test_a_model_that_reads_many_words_reads_them_at_once(tmp_path):
    """Of 1,024 words or 2,048, as some published ones do: in windows it would tell others."""
    library = write_gliner(tmp_path, "uni-span", words_max=900)
    backend: Any = _load(tmp_path)
    text = " ".join(["ab cd", *CORPUS[:2], "spoke"] * 18)
    (window,) = backend._windows(text, 20)
    assert window.tokens > 768
    found = _run(backend, [text], threshold=0.8).entities[0]
    expected = _ordered(library.inference([text], list(_LABELS), threshold=0.8)[0])
    assert _places(found) == _places(expected)
    assert len(found) > 20


def test_a_word_of_any_length_is_read_in_parts_that_a_model_can_hold(tmp_path):
    """Attention costs the square of a window: one word without an end took the process down."""
    write_gliner(tmp_path, "uni-span", fitted_to=SENTENCES)
    backend: Any = _load(tmp_path)
    told, entities = SENTENCES[0]
    text = f"{told} {'abc習' * 3000} {told}"
    windows = backend._windows(text, 100)
    assert max(window.tokens for window in windows) <= 768
    with pytest.raises(FixRequest, match="name fewer"):
        backend._windows(told, 2048)
    assert [windows[0].first, windows[-1].last] == [0, len(text)]
    for window, after in pairwise(windows):
        assert window.last == after.first and after.start <= after.first <= window.stop
    backend._tokens_max = 160
    text = f"{told} {'abc習' * 200} {told}"
    found = _run(backend, [text, told], ["person", "location"]).entities
    assert (found[0][0]["text"], found[0][0]["label"]) == entities[0]
    assert [(one["text"], one["label"]) for one in found[1]] == list(entities)
    assert all(text[one["start"] : one["end"]] == one["text"] for one in found[0])
    backend._run_s_max = 0.0
    with pytest.raises(FixRequest, match="send the text in parts"):
        _run(backend, [text], ["person"])


def test_long_texts_are_halved_before_anything_is_read_and_each_alone_has_its_time(tmp_path):
    write_gliner(tmp_path, "uni-span")
    backend: Any = _load(tmp_path)
    long = "abc " * 8_000
    tokens = sum(window.tokens for window in backend._windows(long, 0))
    assert tokens < 64 * 768 < 2 * tokens
    asked = backend._model.inference
    backend._model.inference = None
    with pytest.raises(FixRequest, match="send fewer at a time") as refused:
        _run(backend, [long, long], ["person"])
    assert refused.value.code == "INPUT_TOO_LONG"
    backend._model.inference = asked
    assert len(_run(backend, [long], ["person"]).entities) == 1


def test_labels_that_were_read_once_are_not_read_again(tmp_path):
    """Of two encoders the one of labels is asked for new sets of labels alone."""
    write_gliner(tmp_path, "bi-span")
    backend: Any = _load(tmp_path)
    first = _run(backend, [CORPUS[0]], threshold=0.3).entities
    with torch.no_grad():
        for weight in backend._model.model.token_rep_layer.labels_encoder.parameters():
            weight.zero_()
    assert first[0] and _run(backend, [CORPUS[0]], threshold=0.3).entities == first
    other = _run(backend, [CORPUS[0]], [*_LABELS, "more"], threshold=0.3).entities
    assert [one["score"] for one in other[0]] != [one["score"] for one in first[0]]


def test_what_the_library_would_make_up_or_misread_is_refused(tmp_path):
    write_gliner(tmp_path, "uni-span")
    backend = _load(tmp_path, extract=ExtractTask(labels=("person",)))
    found = _run(backend, [CORPUS[0]], ()).entities[0]
    assert found and {one["label"] for one in found} == {"person"}
    with pytest.raises(FixRequest, match="none were given"):
        _run(_load(tmp_path), [CORPUS[0]], ())
    with pytest.raises(FixRequest, match="one of the model's marks"):
        _run(backend, [CORPUS[0]], ["a <<ENT>> b"])
    from safetensors import safe_open

    file = tmp_path / "model" / "model.safetensors"
    with safe_open(str(file), framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    # Its rows are more by the library's own marks: it is not among what is declared.
    gone = next(name for name in tensors if name.endswith("word_embeddings.weight"))
    save_file({name: own for name, own in tensors.items() if name != gone}, file)
    with pytest.raises(OurFault, match="lacks 1 of the model's tensors"):
        _load(tmp_path)
    save_file({**tensors, "other": torch.ones(1)}, file)
    with pytest.raises(OurFault, match=r"holds 1 that it does not have \(other\)"):
        _load(tmp_path)
    file.unlink()
    with pytest.raises(OurFault, match="safetensors"):
        _load(tmp_path)
    config = tmp_path / "model" / "gliner_config.json"
    told = json.loads(config.read_text())
    save_file(tensors, file)
    config.write_text(json.dumps({**told, "encoder_config": None, "model_name": "no/such"}))
    with pytest.raises(OurFault, match="wants the tokenizer and config of no/such"):
        _load(tmp_path)


@pytest.mark.parametrize("kind", ["uni-span", "bi-token"])
def test_a_tokenizer_and_a_config_of_another_repository_are_those_that_the_source_pins(
    kind, tmp_path
):
    """Most published models hold weights alone, and name the repository of their encoder."""
    library = write_gliner(tmp_path, kind)
    model = tmp_path / "model"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model / name).unlink()
    shutil.rmtree(model / "labels_tokenizer", ignore_errors=True)
    config = json.loads((model / "gliner_config.json").read_text())
    # So are the configs of models that were saved without their tokenizer.
    config |= {"class_token_index": -1, "vocab_size": -1}
    config |= {"encoder_config": None, "model_name": "some/encoder"}
    beside = {"some/encoder": Weights(tmp_path / "base", None)}
    if kind.startswith("bi"):
        config |= {"labels_encoder": "other/encoder", "labels_encoder_config": None}
        with pytest.raises(OurFault, match=r"wants the tokenizer and config of other/encoder"):
            (model / "gliner_config.json").write_text(json.dumps(config))
            _load(tmp_path, beside=beside)
        beside["other/encoder"] = Weights(tmp_path / "base", None)
    (model / "gliner_config.json").write_text(json.dumps(config))
    with pytest.raises(OurFault, match="reads nothing of third/one"):
        _load(tmp_path, beside={**beside, "third/one": Weights(tmp_path / "base", None)})
    backend = _load(tmp_path, beside=beside)
    (found,) = _run(backend, [CORPUS[0]], threshold=0.3).entities
    expected = _ordered(library.inference([CORPUS[0]], list(_LABELS), threshold=0.3)[0])
    assert found
    assert [(one["start"], one["end"], one["label"]) for one in found] == [
        (one["start"], one["end"], one["label"]) for one in expected
    ]
    assert_same(np.array([o["score"] for o in found]), np.array([o["score"] for o in expected]))
    assert json.loads((model / "gliner_config.json").read_text()) == config


@pytest.mark.parametrize("promise", BACKEND_CONTRACT, ids=lambda each: each.__name__)
def test_it_keeps_the_contract_of_backends(promise, tmp_path):
    write_gliner(tmp_path, "uni-span")
    profile = ProfileDocument(backend="gliner")
    tasks = Tasks(extract=ExtractTask(labels=_LABELS))
    spec = ModelSpec("test/model", "r1", Weights(tmp_path / "model", None), tasks, profile)
    promise(BackendUnderTest.loaded(spec, fresh_device(), "extract"))
