"""Laws of the faces: numbers, places and words of an answer are those that were asked for."""

import base64
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gateway_world import standard_resolver

from sie_gateway.faces import ollama
from sie_gateway.faces.cohere import RERANK_V1, RERANK_V2
from sie_gateway.faces.cohere_embed import EMBED_V1, EMBED_V2
from sie_gateway.faces.face import Face, FaceModels, answered_items
from sie_gateway.faces.native import understands_202
from sie_gateway.faces.nvidia import RANKING
from sie_gateway.faces.openai import EMBEDDINGS, INFINITY
from sie_gateway.faces.tei import ANY, EMBED, EMBED_ALL, PREDICT, RERANK, SIMILARITY
from sie_gateway.faces.token_ids import inputs_of
from sie_gateway.faces.vllm import SCORE
from sie_gateway.faces.vocabulary import Vocabulary
from sie_gateway.faces.voyage import VOYAGE_RERANK
from sie_gateway.fleet.fleet import Fleet
from sie_gateway.fleet.routing import Cold, Routes, Wanted
from sie_gateway.request.requests import Limits
from sie_gateway.request.responses import Answer, Judged
from sie_schemas.arrays import in_dtype, to_wire
from sie_schemas.errors import FixRequest, SIEError, error_for
from sie_schemas.items import Item

LIMITS = Limits(items_max=1000, chars_max=100_000, payload_bytes_max=1_000_000)
MODELS = FaceModels(embed="org/dense", rerank="ranker")
_found = Routes().find(standard_resolver(), Fleet(6.0), Wanted("ranker", "score"), now=0.0)
ROUTE = _found.route if isinstance(_found, Cold) else _found
VECTOR = np.array([0.25, -3.0, 0.0, 1.5, 2.0, -0.5, 0.125, -1.0], "<f4")


def read(face: Face, body: dict[str, Any], models: FaceModels = MODELS) -> Any:
    return face.read(json.dumps(body).encode(), LIMITS, models)


def answered(entries: list[dict[str, Any]]) -> Answer:
    items = [msgspec.Raw(msgspec.msgpack.encode(entry)) for entry in entries]
    return Answer(ROUTE, {"items": items}, 0.0, 0.0, 0.0, 7, ("w",))


def of_vectors(vectors: list[Any], dtype: str = "float32", output: str = "dense") -> Answer:
    """The answer that a worker gives to a request for these."""
    return answered([{output: {"values": to_wire(in_dtype(each, dtype))}} for each in vectors])


def told_as(kind: str) -> Any:
    """The vector in the numbers of a type."""
    if kind == "base64":
        return base64.b64encode(VECTOR.tobytes()).decode()
    if kind == "binary":
        return [each - 128 for each in in_dtype(VECTOR, "ubinary").tolist()]
    return in_dtype(VECTOR, "float32" if kind == "float" else kind).tolist()


KINDS = st.sampled_from(["float", "int8", "uint8", "binary", "ubinary", "base64"])


@given(st.sampled_from(["1", "2"]), st.none() | st.lists(KINDS, min_size=1, max_size=4))
def test_coheres_types_are_told_once_each_and_are_all_of_one_vector(version, kinds):
    face = EMBED_V1 if version == "1" else EMBED_V2
    translated = read(
        face, {"texts": ["a"]} | ({} if kinds is None else {"embedding_types": kinds})
    )
    # Numbers of one type come in it from the worker, however often it was said.
    types = {{"base64": "float32", "float": "float32"}.get(kind, kind) for kind in kinds or []}
    if len(set(kinds or [])) == 1:
        assert {translated.asked.output_dtype} == types
    answer = of_vectors([VECTOR], translated.asked.output_dtype)
    told = json.loads(translated.render(answer))
    if kinds is None and version == "1":
        assert told["embeddings"] == [told_as("float")]
        assert told["response_type"] == "embeddings_floats"
        return
    wanted = {kind: [told_as(kind)] for kind in kinds or ["float"]}
    # A binary vector alone comes from the worker as that API's users have it, with a sign.
    if list(wanted) == ["binary"]:
        assert np.array(told["embeddings"]["binary"]).dtype.kind == "i"
    assert told["embeddings"] == wanted
    assert told["meta"]["api_version"] == {"version": version}
    assert told.get("response_type") == ("embeddings_by_type" if version == "1" else None)


@given(
    st.sampled_from([None, "float", "int8", "binary"]),
    st.sampled_from([None, "float", "base64", "binary"]),
    st.sampled_from([None, "float", "base64", "binary"]),
    st.sampled_from([None, "float", "base64"]),
)
def test_a_type_of_numbers_may_be_said_twice_and_never_two_ways(one, two, three, form):
    said = {
        "output_dtype": one,
        "embedding_type": two,
        "encoding_type": three,
        "encoding_format": form,
    }
    body = {"input": "a"} | {name: word for name, word in said.items() if word is not None}
    kinds = {one, two, three} - {None, "base64"}
    if len(kinds) > 1:
        with pytest.raises(FixRequest):
            read(EMBEDDINGS, body)
        return
    [kind] = kinds or {"float"}
    translated = read(EMBEDDINGS, body)
    told = json.loads(translated.render(of_vectors([VECTOR], translated.asked.output_dtype)))
    number = told["data"][0]["embedding"]
    if "base64" not in said.values():
        assert number == told_as(kind)
        return
    dtype = {"float": "<f4", "int8": "i1", "binary": "i1"}[kind]
    assert np.frombuffer(base64.b64decode(number), dtype).tolist() == told_as(kind)


@given(
    st.sampled_from([None, 0, 3, 8]),
    st.sampled_from([None, 3, 5]),
    st.sampled_from([EMBEDDINGS, INFINITY]),
)
def test_a_width_is_the_one_that_was_said_and_nought_is_all_only_where_an_api_has_it_so(
    dimensions, output_dimension, face
):
    said = {"dimensions": dimensions, "output_dimension": output_dimension}
    body = {"input": "a"} | {name: width for name, width in said.items() if width is not None}
    contradicts = None not in (dimensions, output_dimension) and dimensions != output_dimension
    if contradicts:
        with pytest.raises(FixRequest):
            read(face, body)
        return
    width = output_dimension if dimensions is None else dimensions
    # Elsewhere it is refused with the options, by the name that its client gave it.
    assert read(face, body).asked.dimensions == (None if face is INFINITY and width == 0 else width)


@given(
    st.sampled_from([None, True, False, "NONE", "START", "END"]),
    st.sampled_from([None, True, False]),
)
def test_two_words_for_what_becomes_of_a_long_text_agree_or_are_refused(truncate, truncation):
    said = {"truncate": truncate, "truncation": truncation}
    body = {"input": "a"} | {name: word for name, word in said.items() if word is not None}
    if truncation is False and truncate in {"START", "END"}:
        with pytest.raises(FixRequest):
            read(EMBEDDINGS, body)
        return
    if isinstance(truncate, str):
        wanted: str | None = truncate.lower()
    else:
        wanted = "none" if truncate is False or truncation is False else None
    assert read(EMBEDDINGS, body).asked.options.get("truncate") == wanted


@given(
    st.sampled_from([None, "query", "passage", "of its own"]),
    st.sampled_from([None, "query", "document"]),
    st.sampled_from([{}, {"is_query": True}, {"task": "mine"}, {"normalize": True}]),
    st.sampled_from([None, False]),
)
def test_what_a_text_is_for_is_said_in_one_way_and_our_own_options_go_before(
    task, input_type, own, normalized
):
    said = {"task": task, "input_type": input_type, "normalized": normalized}
    body: dict[str, Any] = {"input": "a", "options": own}
    body |= {name: word for name, word in said.items() if word is not None}
    sides = {word == "query" for word in (task, input_type) if word not in {None, "of its own"}}
    if len(sides) > 1:
        with pytest.raises(FixRequest):
            read(EMBEDDINGS, body)
        return
    wanted: dict[str, Any] = {"is_query": True in sides} if sides else {}
    wanted |= {"task": task} if task == "of its own" else {}
    wanted |= {} if normalized is None else {"normalize": normalized}
    assert read(EMBEDDINGS, body).asked.options == wanted | own


RANKINGS = st.sampled_from([
    (RERANK_V1, "documents", "top_n", "results"),
    (RERANK_V2, "documents", "top_n", "results"),
    (VOYAGE_RERANK, "documents", "top_k", "data"),
    (RERANK, "texts", "top_n", ""),
    (RERANK, "documents", "top_n", "results"),
    (RANKING, "passages", "", "rankings"),
    (SCORE, "text_2", "", "data"),
])  # fmt: skip
RAW = st.none() | st.booleans()
SCORES = {"texts": "score", "text_2": "score", "passages": "logit"}


@given(RANKINGS, st.integers(1, 30), st.none() | st.integers(1, 31), st.booleans(), RAW)
def test_a_ranking_has_every_document_that_was_not_cut_off_on_purpose(
    api, count, most, gives_back, raw
):
    face, field, bound, under = api
    documents: list[Any] = [f"d{place}" for place in range(count)]
    body: dict[str, Any] = {"query": "q", field: documents}
    if field == "passages":
        body = {"query": {"text": "q"}, field: [{"text": each} for each in documents]}
    elif face is SCORE:
        body = {"text_1": "q", field: documents}
    elif gives_back:
        body["return_text" if field == "texts" else "return_documents"] = True
    body |= {bound: most} if bound and most else {}
    if raw is not None and face in (SCORE, RERANK):
        body |= {"use_activation": not raw} if face is SCORE else {"raw_scores": raw}
    order = [*range(count)][::-1]
    answer = Answer(
        ROUTE,
        {"scores": [{"item_id": str(place)} for place in order]},
        0.0,
        0.0,
        0.0,
        7,
        ("w",),
        tuple(Judged(float(place), place / 40, place + 0.5) for place in order),
    )
    told = json.loads(read(face, body).render(answer))
    rows = told[under] if under else told
    # A pair's score stands in the place of its pair: its client reads no index.
    ranked = sorted(order) if face is SCORE else order
    assert [row["index"] for row in rows] == ranked[: most if bound else None]
    is_logit = face is RANKING or (raw is True and face in (SCORE, RERANK))
    for row in rows:
        place = row["index"]
        score = row[SCORES.get(field, "relevance_score")]
        assert score == (place + 0.5 if is_logit else place / 40)
        back = row.get("text", row.get("document"))
        given_back = back.get("text") if isinstance(back, dict) else back
        has_texts = gives_back and field not in {"passages", "text_2"}
        assert given_back == (documents[place] if has_texts else None)
    if "meta" in told:
        assert told["meta"]["api_version"]["version"] == ("1" if face is RERANK_V1 else "2")


INPUTS = st.lists(
    st.sampled_from(["a", 0, 5, 2**31 - 1, [3, 4], [0], {"text": "t"}]), min_size=1, max_size=4
)
BAD = st.sampled_from([-1, 2**31, [], [7, -1], [2**31, 7]])


@given(INPUTS, st.none() | BAD)
def test_a_list_of_numbers_is_one_input_and_every_other_list_one_of_each(inputs, bad):
    if bad is not None:
        # Numbers alone are one input, which has no place; a list among others has its own. A number
        # that is no id is told by its place in its list.
        ids = bad if isinstance(bad, list) else [bad]
        inside = next((f"[{at}]" for at, each in enumerate(ids) if not 0 <= each < 2**31), "")
        where = "$.input" if isinstance(bad, int) else "$.input[0]"
        told = [([bad], f"{where}{inside}"), (["a", ids], f"$.input[1]{inside}")]
        for wrong, field in told:
            with pytest.raises(FixRequest) as refused:
                read(EMBEDDINGS, {"input": wrong})
            assert refused.value.field == field
    numbers = [each for each in inputs if isinstance(each, int)]
    if numbers and len(numbers) < len(inputs):
        with pytest.raises(FixRequest):
            read(EMBEDDINGS, {"input": inputs})
        return
    wanted = [Item(token_ids=tuple(inputs))] if numbers else [
        Item(token_ids=tuple(each))
        if isinstance(each, list)
        else Item(text=each if isinstance(each, str) else each["text"])
        for each in inputs
    ]  # fmt: skip
    assert list(read(EMBEDDINGS, {"input": inputs}).asked.items) == wanted


@given(st.text("aé漢😀", max_size=8), st.integers(1, 3))
def test_words_of_a_vocabulary_may_end_inside_of_a_character(text, size):
    data = text.encode()
    words = [data[start : start + size] for start in range(0, len(data), size)] or [b"x"]
    vocabulary = Vocabulary(dict(enumerate(words)))
    found = inputs_of([*range(len(words))], vocabulary, "$.input")[0]
    assert isinstance(found, Item) and found.text == (text or "x")
    # A client may have cut the text itself there.
    assert "�" in Vocabulary({0: "é".encode()[:1]}).text_of([0], "$.input")
    with pytest.raises(FixRequest) as refused:
        vocabulary.text_of([0, len(words)], "$.input")
    assert refused.value.field == "$.input[1]"


WORDS = st.lists(st.binary(min_size=1, max_size=4), max_size=4)


@given(WORDS, st.integers(0, 2), st.integers(0, 3), st.sampled_from([b"!", b"*", b"="]))
def test_a_vocabulary_is_read_by_its_lines_and_none_is_guessed(words, blank, at, strange):
    encoded = [base64.b64encode(word) for word in words]
    lines = [word + b" %d" % place for place, word in enumerate(encoded)]
    for _ in range(blank):
        lines.insert(min(at, len(lines)), b"")
    if not words:
        with pytest.raises(ValueError, match="no token"):
            Vocabulary.parse(b"\n".join(lines))
        return
    found = Vocabulary.parse(b"\n".join(lines))
    text = b"".join(words).decode("utf-8", "replace")
    assert found.text_of(range(len(words)), "$.input") == text
    # A decoder that is not strict passes over it, and has another word.
    spoilt = strange + encoded[0] + b" 0"
    with pytest.raises(ValueError, match=f"line {len(lines) + 1} "):
        Vocabulary.parse(b"\n".join([*lines, spoilt]))


@given(
    normalize=st.none() | st.booleans(),
    own=st.sampled_from([{}, {"normalize": False}, {"normalize": True}]),
)
def test_vectors_have_length_one_unless_a_request_wants_them_as_they_are(normalize, own):
    rows = np.stack([VECTOR, np.zeros_like(VECTOR), 2 * VECTOR[::-1]])
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    said = {} if normalize is None else {"normalize": normalize}
    body = {"inputs": ["a", "b", "c"], "options": own}
    translated = read(EMBED, body | said)
    told = json.loads(translated.render(of_vectors(list(rows))))
    is_unit = own.get("normalize", normalize is not False)
    np.testing.assert_allclose(told, unit if is_unit else rows, rtol=1e-5)
    told = json.loads(
        read(EMBED_ALL, {"inputs": "a"} | said).render(of_vectors([rows], output="multivector"))
    )
    np.testing.assert_allclose(told[0], unit if normalize else rows, rtol=1e-5)
    likeness = {"inputs": {"source_sentence": "a", "sentences": ["b", "c"]}}
    told = json.loads(read(SIMILARITY, likeness).render(of_vectors(list(rows))))
    np.testing.assert_allclose(told, unit[1:] @ unit[0], atol=1e-6)
    # Ollama's newer route has no word for it, and its older one never had such vectors.
    told = json.loads(read(ollama.EMBED, {"input": ["a"] * 3}).render(of_vectors(list(rows))))
    np.testing.assert_allclose(told["embeddings"], unit, rtol=1e-5)
    told = json.loads(read(ollama.EMBEDDINGS, {"prompt": "a"}).render(of_vectors([rows[2]])))
    np.testing.assert_allclose(told["embedding"], rows[2])


@given(st.lists(st.just("a"), min_size=1, max_size=3), st.booleans())
def test_one_text_alone_has_its_classes_alone_and_a_list_of_one_has_a_list(texts, is_listed):
    inputs: Any = [[text] for text in texts] if is_listed or len(texts) > 1 else texts[0]
    classes = [[{"label": f"l{place}", "score": 1.0}] for place in range(len(texts))]
    answer = answered([{"classifications": each} for each in classes])
    told = json.loads(read(PREDICT, {"inputs": inputs}).render(answer))
    assert told == (classes if isinstance(inputs, list) else classes[0])


@given(st.sampled_from(["", "of the path"]), st.sampled_from(["", "of the body"]), st.booleans())
def test_the_one_path_of_tei_does_what_the_model_does_that_the_request_is_for(
    path, body, classifies
):
    asked_of: list[str] = []

    def tasks(spec: str) -> list[str]:
        asked_of.append(spec)
        return ["extract"] if classifies else ["encode", "extract"]

    models = FaceModels(embed="of the setting", path=path, tasks=tasks)
    said = {"inputs": "a"} | ({"model": body} if body else {})
    translated = read(ANY, said, models)
    wanted = path or body or "of the setting"
    assert (asked_of, translated.spec) == ([wanted], wanted)
    assert translated.asked.operation == ("extract" if classifies else "encode")
    for field in ("texts", "documents"):
        ranked = read(ANY, {"query": "q", field: ["a"]}, FaceModels(rerank="r", tasks=tasks))
        assert ranked.asked.operation == "score"


ERRORS = ["RATE_LIMIT", "INVALID_REQUEST", "INFERENCE_ERROR", "GATEWAY_TIMEOUT", "QUEUE_FULL"]


@given(st.lists(st.sampled_from([None, *ERRORS]), min_size=1, max_size=4), st.booleans())
def test_the_first_item_without_an_answer_is_named_where_the_error_is_its_own(items, own):
    entries: list[dict[str, Any]] = [
        {"dense": {}} if code is None else {"error": {"code": code, "message": "no"}}
        for code in items
    ]
    failed = [place for place, code in enumerate(items) if code is not None]
    # An error of a whole job stands at each of its items, and none of them is to blame.
    answer = msgspec.structs.replace(
        answered(entries),
        items_path="$.input",
        own_failures=frozenset(failed if own else ()),
    )
    if not failed:
        assert len(answered_items(answer)) == len(items)
        return
    with pytest.raises(SIEError) as raised:
        answered_items(answer)
    assert raised.value.code == items[failed[0]]
    assert raised.value.field == (f"$.input[{failed[0]}]" if own else None)
    assert type(raised.value) is type(error_for(items[failed[0]] or "", "no"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_REQUEST", "Validation"),
        ("QUEUE_FULL", "Overloaded"),
        ("GATEWAY_TIMEOUT", "Overloaded"),
        ("INFERENCE_ERROR", "Backend"),
    ],
)
def test_tei_has_a_word_for_who_may_mend_an_error(code, kind):
    assert json.loads(EMBED.error(error_for(code, "no")))["error_type"] == kind


@pytest.mark.parametrize(
    ("sdk", "does"), [(None, True), (b"sie-cluster/1", True), (b"0.1.2", False)]
)
def test_a_202_is_for_those_who_do_not_take_it_for_an_answer(sdk, does):
    headers = {} if sdk is None else {b"x-sie-sdk-version": sdk}
    assert understands_202(headers) is does


@pytest.mark.parametrize("width", [None, 3])
def test_cohere_has_vectors_of_the_width_that_was_asked_for(width):
    said = {} if width is None else {"output_dimension": width}
    for face in (EMBED_V1, EMBED_V2):
        assert read(face, {"texts": ["a"]} | said).asked.dimensions == width
