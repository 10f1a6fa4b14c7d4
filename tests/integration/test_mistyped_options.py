"""A thousand mistyped options, outputs and parameters at a real cluster: none is passed over."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.live_cluster import MODEL, LiveCluster
from tests.support.mistakes import misspelt

from sie_sdk import SIEClient

pytestmark = pytest.mark.integration

RANKER = "cross-encoder/ms-marco-MiniLM-L-12-v2"
FINDER = "spacy/en_core_web_sm"
ITEMS = [{"text": "a text"}]
REQUESTS: dict[str, dict[str, Any]] = {
    f"/v1/encode/{MODEL}": {"items": ITEMS, "params": {"options": {}}},
    f"/v1/score/{RANKER}": {"items": ITEMS, "query": {"text": "q"}, "options": {}},
    f"/v1/extract/{FINDER}": {"items": ITEMS, "params": {"options": {}}},
    "/v1/embeddings": {"model": MODEL, "input": "a", "options": {}},
    "/v1/rerank": {"model": RANKER, "query": "q", "documents": ["a"], "options": {}},
    "/v2/rerank": {"model": RANKER, "query": "q", "documents": ["a"], "options": {}},
    "/v1/embed": {
        "model": MODEL,
        "texts": ["a"],
        "input_type": "search_document",
        "options": {},
    },
    "/v2/embed": {
        "model": MODEL,
        "texts": ["a"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "options": {},
    },
    "/embed": {"model": MODEL, "inputs": "a", "options": {}},
    "/embeddings": {"model": MODEL, "input": "a", "options": {}},
    "/similarity": {
        "model": MODEL,
        "inputs": {"source_sentence": "a", "sentences": ["b"]},
        "options": {},
    },
    "/rerank": {"model": RANKER, "query": "q", "texts": ["a"], "options": {}},
}
ENCODE = [f"/v1/encode/{MODEL}", "/v1/embeddings", "/embed"]
VECTORS = [*ENCODE, "/v1/embed", "/v2/embed", "/embeddings"]
NAMES = [
    "lora",
    "lora_id",
    "is_query",
    "instruction",
    "dimensions",
    "query_template",
    "doc_template",
    "normalize",
]
"""The options that a request for vectors may have."""
SAID = [
    {"lor": "legal"},
    {"LoRA": "legal"},
    {"lora_adapter": "legal"},
    {"profile": "nope"},
    {"pooling": "cls"},
    {"muvera": True},
]
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "lora": st.sampled_from(["nobody", "", 7, [], {}, True]),
    "lora_id": st.sampled_from(["nobody", "", 7, [], {}, True]),
    "is_query": st.sampled_from(["yes", "true", 1, 0, [], {}, 0.5]),
    "normalize": st.sampled_from(["yes", "true", 1, 0, [], {}, 0.5]),
    "instruction": st.sampled_from([7, True, [], {}, "x" * 9000]),
    "dimensions": st.one_of(
        st.integers(max_value=0),
        st.integers(min_value=385, max_value=2**63),
        st.sampled_from(["64", 64.5, True, [64], {}]),
    ),
    "query_template": st.sampled_from(["find: ", "{text} and more", "{txt}", "{text}{text}", 7]),
    "doc_template": st.sampled_from(["", "{Text}", "{instruct}{text}", "{document}", True]),
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def one_misspelt(draw: st.DrawFn, names: list[str]) -> str:
    """A name that is none of `names`, most often by one letter."""
    chance = draw(st.randoms(use_true_random=False))
    return misspelt(chance, draw(st.sampled_from(names)), names)


def options_of(body: dict[str, Any]) -> dict[str, Any]:
    """The place of a request's options."""
    options: dict[str, Any] = body.get("params", body)["options"]
    return options


@st.composite
def mistakes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A path and a body with one thing amiss."""
    path = draw(st.sampled_from(sorted(REQUESTS)))
    body = _copy(REQUESTS[path])
    kind = draw(st.sampled_from(["name", "name", "said", "value", "field", "output", "query"]))
    fields = [*body, *body.get("params", {}), "output_types", "output_dtype", "labels", "truncate"]
    match kind:
        case "name":
            options_of(body)[draw(one_misspelt(NAMES))] = draw(json_values)
        case "said":
            options_of(body).update(draw(st.sampled_from(SAID)))
        case "value":
            path = draw(st.sampled_from(VECTORS))
            body = _copy(REQUESTS[path])
            name = draw(st.sampled_from(sorted(WRONG)))
            options_of(body)[name] = draw(WRONG[name])
            if name == "query_template":
                options_of(body)["is_query"] = True
        case "field":
            into = body if draw(st.booleans()) else body.get("params", body)
            name = draw(one_misspelt([*fields, "dimensions", "top_n", "encoding_format"]))
            # A field that is null says nothing, whatever its name: many clients write them so.
            into[name] = draw(json_values.filter(lambda value: value is not None))
        case "output":
            path = f"/v1/encode/{MODEL}"
            body = _copy(REQUESTS[path])
            output, dtype = (
                draw(one_misspelt(["dense", "sparse"])),
                draw(one_misspelt(["int8", "binary"])),
            )
            body["params"] |= draw(
                st.sampled_from(
                    [
                        {"output_types": [output]},
                        {"output_types": ["sparse"]},
                        {"output_types": ["dense", "multivector"]},
                        {"output_dtype": dtype},
                    ]
                )
            )
        case _:
            path += f"?{draw(one_misspelt(['lora', 'dimensions', 'dry_run']))}=1".replace("#", "x")
    return path, body


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def client(live_cluster: LiveCluster) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_cluster.gateway_url, timeout=60) as client:
        for path, body in REQUESTS.items():
            answer = client.post(path, json=body)
            assert answer.status_code == 200, f"{path} as it should be: {answer.text}"
        yield client


@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mistake=mistakes())
def test_no_mistyped_option_output_or_parameter_is_passed_over(client, mistake):
    path, body = mistake
    answer = client.post(path, json=body)
    assert 400 <= answer.status_code < 500, f"{path} {body}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lor": "legal"}, "did you mean 'lora'?"),
        ({"LoRA": "legal"}, "did you mean 'lora'?"),
        ({"lora_adapter": "legal"}, "did you mean 'lora'?"),
        ({"profile": "nope"}, "`model:profile`"),
        ({"pooling": "cls"}, "set in a profile, not in a request"),
        ({"muvera": True}, "it takes dimensions, doc_template, instruction, is_query, lora"),
        ({"dimensions": 385}, "have 384 numbers, not 385"),
    ],
)
@pytest.mark.parametrize("path", ENCODE)
def test_the_refusal_names_what_was_meant_in_the_clients_own_words(client, path, options, said):
    body = _copy(REQUESTS[path])
    options_of(body).update(options)
    answer = client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.text
    own = "$.params." if "params" in body else "$."
    assert f"{own}options.{next(iter(options))}" in answer.text or f"{own}dimensions" in answer.text


def test_every_face_and_the_sdk_cut_a_vector_and_normalise_it(client, live_cluster):
    with SIEClient(live_cluster.gateway_url) as sdk:
        whole = sdk.encode(MODEL, "a")["dense"]
        cut = sdk.encode(MODEL, "a", dimensions=64)["dense"]
    wanted = whole[:64] / np.linalg.norm(whole[:64])
    openai = client.post("/v1/embeddings", json=REQUESTS["/v1/embeddings"] | {"dimensions": 64})
    tei = client.post("/embed", json=REQUESTS["/embed"] | {"options": {"dimensions": 64}})
    for found in (cut, openai.json()["data"][0]["embedding"], tei.json()[0]):
        assert np.abs(np.asarray(found, np.float32) - wanted).max() <= 1e-6
    assert wanted.shape == (64,)
