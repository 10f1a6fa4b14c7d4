"""Laws of every face: model, options, refusals and counts are the same promises in each API."""

import json
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.gateway_world import standard_resolver

from sie_gateway.faces import FACES, TEI_FACES, ollama, tei
from sie_gateway.faces.cohere import RERANK_V1, RERANK_V2
from sie_gateway.faces.cohere_embed import EMBED_V1, EMBED_V2
from sie_gateway.faces.face import Face, FaceModels
from sie_gateway.faces.infinity import CLASSIFY
from sie_gateway.faces.nvidia import RANKING
from sie_gateway.faces.openai import EMBEDDINGS, INFINITY
from sie_gateway.faces.vllm import SCORE
from sie_gateway.faces.voyage import VOYAGE_EMBEDDINGS, VOYAGE_RERANK
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.routing import Cold, Routes, Wanted
from sie_gateway.request.requests import Limits
from sie_gateway.request.responses import Answer, Judged
from sie_schemas.arrays import to_wire
from sie_schemas.errors import FixRequest, error_for

LIMITS = Limits(items_max=200, chars_max=1000, payload_bytes_max=1_000_000)
MODELS = FaceModels(embed="of embeddings", rerank="of rankings")
_found = Routes().find(standard_resolver(), Fleet(6.0), Wanted("ranker", "score"), now=0.0)
VECTOR = np.array([0.6, 0.8], "<f4")
ROUTE = _found.route if isinstance(_found, Cold) else _found


class Form(NamedTuple):
    """One form of one face's request: where its texts stand, and what its own words mean."""

    name: str
    face: Face
    field: str
    """The texts' own, as a refusal names it."""
    words: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = ()
    """The fields that say something, and the options that they are."""
    unsaid: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """The options where none of the words is said."""
    only: dict[str, tuple[Any, Any]] = {}  # noqa: RUF012 - never changed
    """The fields that may only say what is so anyway: what that is, and something else."""

    def body(self, texts: list[str]) -> dict[str, Any]:
        """A request for these texts."""
        if self.face is RANKING:
            return {"query": {"text": "q"}, "passages": [{"text": each} for each in texts]}
        if self.face is tei.SIMILARITY:
            return {"inputs": {"source_sentence": "q", "sentences": texts}}
        if self.face is tei.PREDICT:
            return {"inputs": [[each] for each in texts]}
        if self.face is SCORE:
            return {"text_1": "q", "text_2": texts}
        if self.face is ollama.EMBEDDINGS:
            return {"prompt": texts[0]}
        if self.field == "inputs" and self.face is EMBED_V2:
            return {"inputs": [{"content": [{"type": "text", "text": each}]} for each in texts]}
        return {self.field: texts} | ({"query": "q"} if self.face.operation == "score" else {})


_NONE = {"truncate": "none"}
_UNCUT = ({"truncate": False}, _NONE)
_SIDED: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    _UNCUT,
    ({"truncation_direction": "left"}, {"truncate": "start"}),
    *[({"prompt_name": name}, {"is_query": True}) for name in ("query", "search_query")],
    *[
        ({"prompt_name": name}, {"is_query": False})
        for name in ("document", "passage", "search_document")
    ],
)
_COHERE = (
    ({"truncate": "NONE"}, _NONE),
    ({"input_type": "search_query"}, {"is_query": True}),
    ({"input_type": "clustering"}, {"is_query": False}),
)
_JINA = (
    _UNCUT,
    ({"truncation": False}, _NONE),
    ({"task": "retrieval.query"}, {"is_query": True}),
    ({"input_type": "document"}, {"is_query": False}),
    ({"normalized": False}, {"normalize": False}),
)
_RAW: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"raw_scores": True}, {"activation": "none"}),
    ({"raw_scores": False}, {}),
)
_JINA_ONLY = {
    "late_chunking": (False, True), "add_special_tokens": (True, False), "priority": (0, 1)
}  # fmt: skip
_RERANK_ONLY = {
    "max_tokens_per_doc": (4096, 0), "max_chunks_per_doc": (10, 0), "priority": (0, 1),
    "return_len": (False, True), "kwargs": ("{}", ""),
}  # fmt: skip
_EMBED_ONLY = {"priority": (0, 1), "max_tokens": (None, 0)}
FORMS = (
    Form("openai", EMBEDDINGS, "input", _JINA, only=_JINA_ONLY),
    Form("infinity", INFINITY, "input", _JINA, only=_JINA_ONLY),
    Form("voyage", VOYAGE_EMBEDDINGS, "input", _JINA, only=_JINA_ONLY),
    Form("cohere 1", RERANK_V1, "documents", only=_RERANK_ONLY),
    Form("cohere 2", RERANK_V2, "documents", only=_RERANK_ONLY),
    Form("voyage's ranking", VOYAGE_RERANK, "documents",
         (({"truncation": False}, _NONE), ({"truncation": True}, {}))),
    Form("nvidia", RANKING, "passages",
         (({"truncate": "NONE"}, _NONE), ({"truncate": "END"}, {})), _NONE),
    Form("cohere's texts 1", EMBED_V1, "texts", _COHERE, only=_EMBED_ONLY),
    Form("cohere's texts 2", EMBED_V2, "texts", _COHERE, only=_EMBED_ONLY),
    Form("cohere's inputs", EMBED_V2, "inputs", _COHERE),
    Form("vllm", SCORE, "text_2", only={"priority": (0, 1)}),
    Form("ollama", ollama.EMBED, "input", (({"truncate": False}, _NONE), ({"truncate": True}, {}))),
    Form("ollama's one", ollama.EMBEDDINGS, "prompt"),
    Form("infinity's classes", CLASSIFY, "input", _RAW),
    Form("tei", tei.EMBED, "inputs", (*_SIDED, ({"normalize": False}, {"normalize": False}))),
    Form("tei's path", tei.ANY, "inputs", _SIDED),
    Form("tei's tokens", tei.EMBED_ALL, "inputs", _SIDED),
    Form("tei's words", tei.EMBED_SPARSE, "inputs", _SIDED),
    Form("tei's classes", tei.PREDICT, "inputs", (_UNCUT, *_RAW)),
    Form("tei's ranking", tei.RERANK, "texts", (_UNCUT,)),
    Form("jina's ranking", tei.RERANK, "documents", (_UNCUT,)),
    Form("tei's likeness", tei.SIMILARITY, "inputs.sentences", (_UNCUT,),
         only={"parameters": ({}, {"top": 1})}),
)  # fmt: skip
FEW = settings(max_examples=20, deadline=None)
"""Of each form: there are two dozen, and few words in each."""
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def read(face: Face, body: dict[str, Any], models: FaceModels = MODELS) -> Any:
    return face.read(json.dumps(body).encode(), LIMITS, models)


def test_no_face_is_left_out():
    assert {id(form.face) for form in FORMS} == {
        id(face) for face in (*FACES.values(), *TEI_FACES.values())
    }


OWN = st.fixed_dictionaries(
    {},
    optional={
        "truncate": st.sampled_from(["end", "start", None]),
        "is_query": st.sampled_from([True, False, None]),
        "normalize": st.sampled_from([True, False, None]),
        "activation": st.sampled_from(["identity", None]),
        "multi_label": st.sampled_from([True, None]),
        "mine": st.sampled_from([0, 1, None]),
    },
)


def said_of(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are no null: one says nothing."""
    return {name: value for name, value in options.items() if value is not None}


@every_form
@given(own=OWN, named=st.sampled_from(["", "of the body"]))
@FEW
def test_each_word_of_an_api_is_an_option_and_our_own_go_before(form, own, named):
    """A null is no word in either place. A name that has only that stays, to be refused."""
    # A client of Ollama sends each option of that API, as null.
    unknown = set() if form.name.startswith("ollama") else {"num_ctx"}
    nulls = [(dict.fromkeys(said), form.unsaid) for said, _ in form.words]
    for said, wanted in [({}, form.unsaid), *form.words, *nulls]:
        for ours in (own, dict.fromkeys(wanted)):
            body = form.body(["a"]) | said | {"options": ours | {"num_ctx": None}}
            body |= {"model": named} if named else {}
            found = read(form.face, body)
            assert found.asked.options == wanted | said_of(ours)
            assert unknown <= found.asked.given.keys()
    assert found.asked.operation == ("encode" if form.face is tei.ANY else form.face.operation)
    of_face = MODELS.rerank if form.face.operation == "score" else MODELS.embed
    assert found.spec == (named or of_face)


@every_form
def test_a_body_that_cannot_be_read_is_refused_in_words(form):
    for body in (b"", b"{", b"[1]", b'"a"', b"\xff{}", b'{"options": {}', b"nul"):
        with pytest.raises(FixRequest) as refused:
            form.face.read(body, LIMITS, MODELS)
        assert refused.value.field == "$"


@every_form
@given(texts=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=150))
@FEW
def test_each_text_of_a_request_is_read_in_its_place(form, texts):
    items = [item.text for item in read(form.face, form.body(texts)).asked.items]
    if form.face is ollama.EMBEDDINGS:
        texts = texts[:1]
    assert items == (["q", *texts] if form.face is tei.SIMILARITY else texts)


@every_form
@pytest.mark.parametrize("texts", [["x" * 2000], ["x"] * 201], ids=["long", "many"])
def test_what_is_too_much_is_refused_by_the_name_that_the_client_gave_it(form, texts):
    if form.face is ollama.EMBEDDINGS:
        texts = ["".join(texts) * 1001]
    with pytest.raises(FixRequest) as refused:
        read(form.face, form.body(texts))
    told = refused.value.field or ""
    assert told == f"$.{form.field}" or told.startswith(f"$.{form.field}[")
    assert not told.endswith(".text") and "$.items" not in refused.value.message


@every_form
def test_what_may_only_be_so_is_taken_and_anything_else_is_refused_by_its_name(form):
    for field, (usual, other) in form.only.items():
        assert read(form.face, form.body(["a"]) | {field: usual})
        with pytest.raises(FixRequest) as refused:
            read(form.face, form.body(["a"]) | {field: other})
        assert (refused.value.code, refused.value.field) == ("UNSUPPORTED_FIELD", f"$.{field}")


@every_form
@given(tokens=st.integers(0, 9))
@FEW
def test_an_answer_tells_the_request_and_the_tokens_that_were_read(form, tokens):
    translated = read(form.face, form.body(["a"]))
    rows: list[Any] = [
        {
            "dense": {"values": to_wire(VECTOR)},
            "multivector": {"values": to_wire(VECTOR[None])},
            "sparse": {"indices": to_wire(VECTOR), "values": to_wire(VECTOR)},
            "classifications": [{"label": "l", "score": 1.0}],
        }
    ] * (2 if form.face is tei.SIMILARITY else 1)
    fields: dict[str, Any] = {"items": [msgspec.Raw(msgspec.msgpack.encode(row)) for row in rows]}
    if form.face.operation == "score":
        fields = {"scores": [{"item_id": "0"}]}
    answer = Answer(ROUTE, fields, 0.0, 0.0, 0.0, tokens, ("w",), (Judged(1.0),), "the request")
    told = json.loads(translated.render(answer))
    if not isinstance(told, dict):
        assert form.name.startswith("tei")
        return
    # Voyage and NVIDIA have no id of a ranking.
    assert told.get("id", "the request") == "the request"
    if form.name.startswith("ollama"):
        assert told.get("prompt_eval_count", tokens) == tokens
        return
    usage = told.get("usage") or told["meta"]["billed_units"]
    assert usage["input_tokens"] == tokens
    assert usage.get("total_tokens", tokens) == tokens and not usage.get("completion_tokens")
    if "meta" in told:
        assert told["meta"]["tokens"]["input_tokens"] == tokens


@pytest.mark.parametrize("form", ["cohere's inputs", "vllm"])
@given(st.integers(0, 3))
def test_where_one_text_is_wanted_none_and_several_are_refused(form, count):
    body: dict[str, Any] = {"text_1": ["q"] * count, "text_2": ["a", "b"]}
    face, field = SCORE, "$.text_1"
    if form != "vllm":
        contents = [[{"type": "text", "text": "a"}] * each for each in (1, count)]
        face, body = EMBED_V2, {"inputs": [{"content": content} for content in contents]}
        field = "$.inputs[1].content"
    if count == 1:
        assert len(read(face, body).asked.items) == 2
        return
    with pytest.raises(FixRequest) as refused:
        read(face, body)
    assert refused.value.field == field


BACKENDS = {
    "gliclass": True, "text-classification": True, "zero-shot-classification": True,
    "gliner": False, "spacy": False, "token-classification": False, "another package's": None,
}  # fmt: skip
"""Of each whether it gives classes; None where only its answer tells."""
SAID = st.fixed_dictionaries(
    {},
    optional={
        "candidate_labels": st.lists(st.just("l"), max_size=1),
        "multi_label": st.booleans(),
        "function_to_apply": st.just("sigmoid"),
        "top_k": st.integers(1, 3),
        "aggregation_strategy": st.just("first"),
        "ignore_labels": st.lists(st.just("l1"), max_size=1),
    },
)
FOUND = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@given(
    st.sampled_from(sorted(BACKENDS)), st.booleans(), SAID, OWN, FOUND, st.booleans(), st.booleans()
)
@example("another package's", False, {}, {}, [0, 1], True, False)
@example("another package's", False, {"top_k": 2}, {}, [0], False, True)
def test_the_hub_has_classes_or_entities_by_what_the_model_gives(
    backend, is_named, said, own, found, classifies, is_alone
):
    """A parameter of the other task is refused by name, at the latest with the answer."""
    known = BACKENDS[backend]
    found = found[:1] if is_alone else found
    gives = (classifies if any(found) else "top_k" in said) if known is None else known
    labels = said.get("candidate_labels")
    of_other = "top_k" in said if not gives else bool(said.get("ignore_labels"))
    wrong = {"multi_label"} if said.get("multi_label") and not labels else set()
    if of_other and (known is not None or any(found)):
        wrong.add("ignore_labels" if gives else "top_k")
    named = {"model": "of the body"} if is_named else {}
    body = {"inputs": "a" if is_alone else ["a"] * len(found), "parameters": said, "options": own}
    name = named.get("model", MODELS.embed)
    models = FaceModels(
        embed=MODELS.embed,
        tasks=lambda _: ("extract",),
        backend=lambda spec: {name: backend}.get(spec, ""),
    )
    rows = [[entity(place) for place in range(each)] for each in found]
    field = "classifications" if gives else "entities"
    items = [msgspec.Raw(msgspec.msgpack.encode({field: row})) for row in rows]
    try:
        translated = read(tei.ANY, body | named, models)
        answer = Answer(ROUTE, {"items": items}, 0.0, 0.0, 0.0, 1, ("w",))
        rendered = json.loads(translated.render(answer))
    except FixRequest as refused:
        assert refused.code == "UNSUPPORTED_FIELD"
        assert refused.field in {f"$.parameters.{each}" for each in wrong}
        return
    assert (wrong, translated.spec) == (set(), name)
    words = {"function_to_apply": "activation", "aggregation_strategy": "aggregation"}
    words |= {"multi_label": "multi_label"} if labels else {}
    wanted = {words[each]: said[each] for each in said if each in words}
    assert translated.asked.options == wanted | said_of(own)
    assert list(translated.asked.labels) == (labels or [])
    if gives:
        expected: list[Any] = [row[: said.get("top_k")] for row in rows]
    else:
        expected = [
            [
                {"entity_group" if key == "label" else {"text": "word"}.get(key, key): each[key]
                 for key in each}
                for each in row
                if each["label"] not in said.get("ignore_labels", ())
            ]
            for row in rows
        ]  # fmt: skip
    assert rendered == (expected[0] if is_alone and (labels or not gives) else expected)


def entity(place: int) -> dict[str, Any]:
    """The one that was found at a place, which may also stand for a class."""
    return {"label": f"l{place}", "score": 0.5, "text": "t", "start": place, "end": place + 1}


@every_form
@pytest.mark.parametrize("code", ["INVALID_REQUEST", "QUEUE_FULL"])
def test_an_error_is_a_sentence_where_its_api_has_it_and_names_our_code(form, code):
    told = json.loads(form.face.error(error_for(code, "no")))
    said = told.get("error", told.get("message", told.get("detail")))
    # Under `detail` alone its clients read a sentence, or nothing.
    in_envelope = isinstance(said, dict) and "error" in told
    assert (said["message"] if in_envelope else said) == "no"
    # OpenAI's envelope and Voyage's have a place for it, the others our whole error beside.
    places = (said, told, told.get("detail"))
    codes = {place["code"] for place in places if isinstance(place, dict) and "code" in place}
    assert codes & {code, code.lower()}


@given(st.sets(st.sampled_from(["texts", "inputs"])))
def test_cohere_has_its_texts_in_one_field(fields):
    words = {"texts": ["a"], "inputs": [{"content": [{"type": "text", "text": "a"}]}]}
    body = {field: words[field] for field in fields}
    if len(fields) == 1:
        assert [item.text for item in read(EMBED_V2, body).asked.items] == ["a"]
        return
    with pytest.raises(FixRequest):
        read(EMBED_V2, body)


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize(
    ("face", "field"),
    [
        (EMBEDDINGS, "dimensions"),
        (EMBEDDINGS, "output_dimension"),
        (tei.EMBED, "dimensions"),
        (ollama.EMBED, "dimensions"),
    ],
    ids=["openai", "voyage", "tei", "ollama"],
)
def test_vectors_have_the_width_that_was_asked_for(face, field, width):
    body = {"inputs" if face is tei.EMBED else "input": "a"}
    said = {} if width is None else {field: width}
    assert read(face, body | said).asked.dimensions == width
