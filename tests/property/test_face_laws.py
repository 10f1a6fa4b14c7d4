"""Laws of the faces: what other APIs say reaches the request, and its answer is in their words."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_world import standard_resolver

from sie_gateway.faces.cohere import RERANK_V2
from sie_gateway.faces.cohere_embed import EMBED_V2
from sie_gateway.faces.face import Face, FaceModels, classes_of, ranking
from sie_gateway.faces.openai import EMBEDDINGS
from sie_gateway.faces.tei import EMBED, RERANK
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.routing import Cold, Routes, Wanted
from sie_gateway.request.requests import Limits
from sie_gateway.request.responses import Answer, Judged
from sie_schemas.errors import FixRequest, error_for

LIMITS = Limits(items_max=1000, chars_max=100_000, payload_bytes_max=1_000_000)
MODELS = FaceModels(embed="org/dense", rerank="ranker")
_found = Routes().find(standard_resolver(), Fleet(6.0), Wanted("ranker", "score"), now=0.0)
ROUTE = _found.route if isinstance(_found, Cold) else _found
SHARES = st.none() | st.sampled_from([0.0, 0.25, 1.0])
LOGITS = st.none() | st.sampled_from([0.0, -2.0, 3.0])
JUDGED = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 2.0, -1e4, 1e4]), SHARES, LOGITS), max_size=5
)


def ranked(judged: list[Judged], order: list[int]) -> Answer:
    """The answer to a ranking: the place in the request of each, the best first."""
    scores = [{"item_id": str(index), "score": 0.0, "rank": 0} for index in order]
    return Answer(ROUTE, {"scores": scores}, 0.0, 0.0, 0.0, 7, ("w",), tuple(judged), "r")


def read(face: Face, body: dict[str, Any], models: FaceModels = MODELS) -> Any:
    return face.read(json.dumps(body).encode(), LIMITS, models)


@given(JUDGED)
def test_a_relevance_is_the_models_own_also_where_it_is_nothing_at_all(judged):
    told = [Judged(*each) for each in judged]
    found = ranking(ranked(told, [*range(len(told))]))
    for each, one in zip(found, told, strict=True):
        assert each.logit == (one.score if one.logit is None else one.logit)
        if one.relevance is None:
            assert 0 <= each.score <= 1 and (each.score > 0.5) is (one.score > 0)
        else:
            assert each.score == one.relevance


NAMES = st.sampled_from(["", "a", "b"])


@given(path=NAMES, body=NAMES, setting=NAMES)
def test_the_model_of_the_path_goes_before_the_bodys_and_that_before_the_settings(
    path, body, setting
):
    models = FaceModels(embed=setting, rerank=setting, path=path)
    for named in (models.encoder, models.ranker):
        if wanted := path or body or setting:
            assert named(body) == wanted
        else:
            with pytest.raises(FixRequest):
                named(body)


@given(st.permutations(range(4)), st.none() | st.integers(1, 5), st.booleans())
def test_a_document_comes_back_with_its_own_place_and_score(order, most, gives_back):
    documents: list[Any] = ["a", {"text": "b"}, {"text": "c", "more": 1}, "d"]
    judged = [Judged(float(-place), None, None) for place in range(4)]
    body = {"query": "q", "documents": documents, "return_documents": gives_back}
    if most is not None:
        body["top_n"] = most
    told = json.loads(read(RERANK_V2, body).render(ranked(judged, list(order))))
    assert [each["index"] for each in told["results"]] == list(order)[:most]
    for each in told["results"]:
        given_in = documents[each["index"]]
        wanted = {"text": given_in} if isinstance(given_in, str) else given_in
        assert each.get("document") == (wanted if gives_back else None)
    texts = ["a", "b", "c", "d"]
    asked = {"query": "q", "texts": texts, "return_text": gives_back}
    for entry in json.loads(read(RERANK, asked).render(ranked(judged, list(order)))):
        assert entry.get("text") == (texts[entry["index"]] if gives_back else None)


@given(st.integers(1, 400))
def test_a_search_unit_is_counted_for_each_hundred_documents_that_are_begun(count):
    body = {"query": "q", "documents": ["d"] * count, "top_n": 1}
    answer = ranked([Judged(0.0)] * count, [*range(count)])
    units = json.loads(read(RERANK_V2, body).render(answer))["meta"]["billed_units"]
    assert (units["search_units"] - 1) * 100 < count <= units["search_units"] * 100


@given(st.lists(st.sampled_from([0, False, "", [], {}, "x", None]), min_size=1, max_size=3))
def test_a_field_to_rank_by_is_missing_only_where_it_is_not_there(values):
    fields = [f"f{number}" for number in range(len(values))]
    document = {
        name: value for name, value in zip(fields, values, strict=True) if value is not None
    }
    body = {"query": "q", "documents": [document], "rank_fields": fields}
    if None in values:
        with pytest.raises(FixRequest, match="no such field"):
            read(RERANK_V2, body)
        return
    [item] = read(RERANK_V2, body).asked.items
    for name, value in document.items():
        said = value if isinstance(value, str) else json.dumps(value)
        assert said in item.text
        assert len(fields) == 1 or f"{name}: " in item.text


@given(
    kind=st.sampled_from([None, "search_document", "search_query", "classification", "clustering"]),
    cut=st.sampled_from([None, "NONE", "START", "END"]),
    own=st.fixed_dictionaries(
        {}, optional={"is_query": st.booleans(), "truncate": st.sampled_from(["start", "none"])}
    ),
)
def test_of_coheres_kinds_one_is_a_query_and_our_own_options_go_before_its_words(kind, cut, own):
    body: dict[str, Any] = {"texts": ["a"], "options": own}
    body |= {"input_type": kind} if kind else {}
    body |= {"truncate": cut} if cut else {}
    wanted = ({"is_query": kind == "search_query"} if kind else {}) | (
        {"truncate": cut.lower()} if cut else {}
    )
    assert read(EMBED_V2, body).asked.options == wanted | own


@given(
    truncate=st.sampled_from([None, True, False]),
    side=st.sampled_from([None, "Left", "left", "Right", "right"]),
    own=st.sampled_from([{}, {"truncate": "end"}]),
)
def test_a_text_may_be_cut_unless_a_request_says_that_it_may_not(truncate, side, own):
    said = {} if truncate is None else {"truncate": truncate}
    asked = read(EMBEDDINGS, {"input": "a", "options": own} | said).asked
    assert asked.options.get("truncate") == own.get(
        "truncate", "none" if truncate is False else None
    )
    said |= {} if side is None else {"truncation_direction": side}
    cut = {"left": "start", "right": "end"}.get((side or "").lower())
    told = read(EMBED, {"inputs": "a", "options": own} | said).asked.options.get("truncate")
    assert told == own.get("truncate", "none" if truncate is False else cut)


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_a_text_without_classes_is_no_answer_of_a_classifier(classified):
    rows = [[{"label": "a", "score": 1.0}] if each else [] for each in classified]
    entries = [msgspec.Raw(msgspec.msgpack.encode({"classifications": row})) for row in rows]
    answer = Answer(ROUTE, {"items": entries}, 0.0, 0.0, 0.0, 7, ("w",))
    if all(classified):
        assert classes_of(answer) == rows
    else:
        with pytest.raises(FixRequest, match="no classes"):
            classes_of(answer)


FACES = st.sampled_from([(RERANK_V2, "documents"), (RERANK, "texts"), (EMBEDDINGS, "input")])


@given(FACES, st.sampled_from([["x" * 200_000], ["x"] * 1001]))
def test_a_refusal_names_the_field_as_its_client_does(face_and_field, texts):
    face, field = face_and_field
    body: dict[str, Any] = {field: texts} | ({} if field == "input" else {"query": "q"})
    with pytest.raises(FixRequest) as refused:
        read(face, body)
    assert "$.items" not in f"{refused.value.field} {refused.value.message}"
    assert (refused.value.field or "").startswith(f"$.{field}")


@given(
    task=st.sampled_from(["query", "document", "passage", "retrieval.query", "retrieval.passage"]),
    own=st.sampled_from([{}, {"is_query": True}, {"is_query": False}]),
)
def test_of_jinas_tasks_those_that_say_so_are_queries(task, own):
    options = read(EMBEDDINGS, {"input": "a", "task": task, "options": own}).asked.options
    assert options == {"is_query": task.endswith("query")} | own


@given(st.sampled_from(["RATE_LIMIT", "QUEUE_FULL", "INVALID_REQUEST", "INFERENCE_ERROR"]))
def test_an_error_is_of_the_type_by_which_openais_clients_tell_what_to_do(code):
    error = error_for(code, "no")
    kind = json.loads(EMBEDDINGS.error(error))["error"]["type"]
    usual = "invalid_request_error" if error.status < 500 else "server_error"
    assert kind == ("rate_limit_error" if error.status == 429 else usual)
