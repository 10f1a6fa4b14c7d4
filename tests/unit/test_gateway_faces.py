"""The compatibility faces, over a bus in memory and with the other API's own client."""

import base64
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import openai
import pytest
from tests.support.gateway_world import World, echo_result, gateway_world, model, resolver_of

from sie_gateway.faces import face_at
from sie_schemas import arrays
from sie_schemas.jobs import JOB_VERSION, ItemFailure, Job, JobFailure, JobResult

LORA_GUIDE = Path(__file__).parents[2] / "docs/guides/lora.md"
EMBEDDINGS = {"model": "org/dense", "input": ["a", "four"]}
RERANK = {"model": "ranker", "query": "q", "documents": ["a", "ccc", "bb"]}
TEI_RERANK = {"model": "ranker", "query": "q", "texts": ["a", "ccc", "bb"]}
TEI_EMBED = {"model": "org/dense", "inputs": "four"}
OWN_LENGTH = TEI_EMBED | {"normalize": False}
TEI_PREDICT = {"model": "finder", "inputs": "four"}
NVIDIA_RANKING = {
    "model": "ranker",
    "query": {"text": "q"},
    "passages": [{"text": "a"}, {"text": "ccc"}, {"text": "bb"}],
}
TEI_SIMILARITY = {
    "model": "org/dense",
    "inputs": {"source_sentence": "four", "sentences": ["a", "four"]},
}
OLLAMA_EMBED = {"model": "org/dense", "input": ["a", "four"]}
OLLAMA_EMBEDDINGS = {"model": "org/dense", "prompt": "four"}
VLLM_SCORE = {"model": "ranker", "text_1": "q", "text_2": ["a", "ccc", "bb"]}
COHERE_EMBED = {"model": "org/dense", "texts": ["a", "four"], "input_type": "search_query"}
EVERY_FACE: list[tuple[str, dict[str, Any]]] = [
    ("/v1/embeddings", EMBEDDINGS),
    ("/v1/rerank", RERANK),
    ("/v2/rerank", RERANK),
    ("/v1/embed", COHERE_EMBED),
    ("/v2/embed", COHERE_EMBED),
    ("/v1/ranking", NVIDIA_RANKING),
    ("/api/embed", OLLAMA_EMBED),
    ("/api/embeddings", OLLAMA_EMBEDDINGS),
    ("/score", VLLM_SCORE),
    ("/v1/score", VLLM_SCORE),
    ("/voyage/v1/embeddings", EMBEDDINGS),
    ("/voyage/v1/rerank", RERANK),
    ("/embed", TEI_EMBED),
    ("/embed_all", TEI_EMBED),
    ("/embed_sparse", TEI_EMBED),
    ("/embeddings", EMBEDDINGS),
    ("/predict", TEI_PREDICT),
    ("/rerank", TEI_RERANK),
    ("/rerank", RERANK),
    ("/similarity", TEI_SIMILARITY),
    ("/tei/org/dense", TEI_EMBED),
    ("/tei/org/dense/embed", TEI_EMBED),
    ("/tei/ranker/rerank", TEI_RERANK),
    ("/tei/dense/v1/embeddings", EMBEDDINGS),
]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


async def post(world: World, path: str, body: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.post(path, json=body)


async def get(world: World, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.get(path)


@asynccontextmanager
async def openai_client(world: World) -> AsyncIterator[openai.AsyncOpenAI]:
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=world.app))
    client = openai.AsyncOpenAI(
        api_key="none", base_url="http://gateway/v1", http_client=http, max_retries=0
    )
    async with client:
        yield client


async def test_the_openai_client_gets_the_same_vectors_as_floats_and_as_base64() -> None:
    async with gateway_world() as world, openai_client(world) as client:
        usual = await client.embeddings.create(model="org/dense", input=["a", "four"])
        floats = await client.embeddings.create(
            model="dense", input="four", encoding_format="float", user="u", dimensions=3
        )
        raw = await post(world, "/v1/embeddings", EMBEDDINGS | {"encoding_format": "base64"})
    assert [entry.embedding for entry in usual.data] == [[1.0, 0.0, 0.0], [4.0, 1.0, 0.0]]
    assert [entry.index for entry in usual.data] == [0, 1]
    assert floats.data[0].embedding == [4.0, 0.0, 0.0]
    assert (usual.model, usual.usage.prompt_tokens, usual.usage.total_tokens) == ("org/dense", 6, 6)
    packed = base64.b64decode(raw.json()["data"][1]["embedding"])
    assert np.frombuffer(packed, "<f4").tolist() == [4.0, 1.0, 0.0]


async def test_the_openai_client_reads_our_errors_and_a_cold_pool_as_its_own() -> None:
    async with gateway_world() as world, openai_client(world) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.embeddings.create(model="nobody", input="a")
        with pytest.raises(openai.BadRequestError) as cut:
            await client.embeddings.create(model="org/dense", input="a", dimensions=0)
        with pytest.raises(openai.BadRequestError) as tokens:
            await client.embeddings.create(model="org/dense", input=[[1], [-2]])
    assert (unknown.value.code, unknown.value.type) == ("model_not_found", "invalid_request_error")
    assert (cut.value.code, cut.value.param) == ("invalid_request", "dimensions")
    assert tokens.value.param == "input[1][0]"
    async with gateway_world(warm=False) as world, openai_client(world) as client:
        with pytest.raises(openai.InternalServerError) as cold:
            await client.embeddings.create(model="org/dense", input="a")
    assert (cold.value.status_code, cold.value.code) == (503, "provisioning")


@pytest.mark.parametrize(
    ("path", "body"),
    [face for face in EVERY_FACE if face[0] not in {"/embed_all", "/embed_sparse"}],
)
async def test_a_cold_pool_is_never_202_on_a_face(path: str, body: dict[str, Any]) -> None:
    async with gateway_world(warm=False) as world:
        response = await post(world, path, body)
        assert world.bus.jobs.empty()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.headers["X-SIE-Error-Code"] == "PROVISIONING"


@pytest.mark.parametrize(("path", "body"), EVERY_FACE)
async def test_a_field_that_nobody_knows_and_a_wrong_method_are_refused(
    path: str, body: dict[str, Any]
) -> None:
    async with gateway_world() as world:
        unknown = await post(world, path, body | {"no_such_field": 1})
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            put = await http.put(path)
        assert world.echo.seen == []
    assert unknown.status_code == 400
    assert "no_such_field" in unknown.text
    assert put.status_code in {404, 405}
    if put.status_code == 405:
        assert put.headers["Allow"] == "POST"


def places_of_options() -> dict[str, dict[str, Any]]:
    """The part of a body that names an adapter, by route, as the guide's table has it."""
    rows = re.findall(r"^\|[^|]*\|([^|]*)\| `(\{.*\})` \|$", LORA_GUIDE.read_text(), re.MULTILINE)
    return {
        route: json.loads(part)
        for routes, part in rows
        for route in re.findall(r"`(/[^`]*)`", routes)
    }


async def test_every_form_takes_an_adapter_where_the_guide_says() -> None:
    native = {"items": [{"text": "four"}]}
    forms = [
        *EVERY_FACE,
        ("/classify", {"model": "finder", "input": ["four"]}),
        ("/v1/encode/org/dense", native),
        ("/v1/extract/finder", native),
        ("/v1/score/ranker", native | {"query": {"text": "q"}}),
    ]
    places = places_of_options()
    read: set[str] = set()
    async with gateway_world() as world:
        for path, body in forms:
            for known in (path, re.sub(r"^(/tei|/v1/[a-z]+)/.+$", r"\1/{model}", path)):
                if known in places:
                    answer = await post(world, path, body | places[known])
                    assert answer.headers["X-SIE-Error-Code"] == "ADAPTER_NOT_FOUND", path
                    read.add(known)
                    break
            else:
                pytest.fail(f"the guide has no row for {path}")
        assert world.echo.seen == []
        body = EMBEDDINGS | {"options": {"lora": "legal"}}
        response = await post(world, "/v1/embeddings", body)
    assert read == set(places)
    assert [entry["embedding"][2] for entry in response.json()["data"]] == [1.0, 1.0]
    assert response.headers["X-SIE-Adapter-Revision"]


async def test_an_item_that_failed_fails_the_embeddings_instead_of_leaving_a_gap() -> None:
    def half(job: Job) -> JobResult:
        failure = ItemFailure(1, "INFERENCE_ERROR", "poison")
        return echo_result(
            job, answers=(echo_result(job).answers[0], b""), item_failures=(failure,)
        )

    async with gateway_world() as world:
        world.echo.answer = half
        response = await post(world, "/v1/embeddings", EMBEDDINGS)
        cohere = await post(world, "/v2/embed", COHERE_EMBED | {"texts": ["a", "b"]})
        ranked = await post(world, "/v2/rerank", RERANK | {"documents": ["a", "b"]})
    assert {each.status_code for each in (response, cohere, ranked)} == {500}
    assert response.json()["error"]["code"] == "inference_error"
    # By the client's own name and place: of hundreds of texts, one is to be mended.
    assert response.json()["error"]["param"] == "input[1]"
    assert response.json()["error"]["message"] == "$.input[1]: poison"
    assert cohere.json()["message"] == "$.texts[1]: poison"
    assert ranked.json()["message"] == "$.documents[1]: poison"


async def test_a_job_that_is_given_up_blames_none_of_its_items() -> None:
    def first_only(job: Job) -> JobResult:
        if job.first_item == 0:
            return echo_result(job)
        failure = JobFailure("INFERENCE_ERROR", "given up after the last try")
        return echo_result(job, answers=(), failure=failure)

    async with gateway_world(job_items_max=1) as world:
        world.echo.answer = first_only
        response = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": ["a", "b"]})
        cohere = await post(world, "/v2/embed", COHERE_EMBED | {"texts": ["a", "b"]})
        ranked = await post(world, "/v2/rerank", RERANK | {"documents": ["a", "b"]})
    assert {each.status_code for each in (response, cohere, ranked)} == {500}
    assert response.json()["error"]["param"] is None
    told = [response.json()["error"], cohere.json(), ranked.json()]
    assert [each["message"] for each in told] == ["given up after the last try"] * 3


async def test_an_empty_input_and_one_that_is_too_large_name_the_clients_own_field() -> None:
    async with gateway_world(payload_bytes_max=5000, object_bytes_max=0) as world:
        empty = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": []})
        large = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": ["a", "x" * 6000]})
    assert empty.json()["error"]["param"] == "input"
    assert large.json()["error"]["param"] == "input[1]"
    assert large.status_code == 413


@pytest.mark.parametrize(("path", "body"), EVERY_FACE)
async def test_a_field_that_is_null_is_absent(path: str, body: dict[str, Any]) -> None:
    absent = dict.fromkeys(_optional(path, body))
    assert absent
    async with gateway_world() as world:
        plain = await post(world, path, body)
        with_nulls = await post(world, path, body | absent)
    assert with_nulls.status_code == plain.status_code
    assert _told(with_nulls) == _told(plain)


def _optional(path: str, body: dict[str, Any]) -> set[str]:
    found = face_at("POST", path)
    assert found is not None
    return set(found.face.body.__struct_fields__) - body.keys()


def _told(response: httpx.Response) -> Any:
    body = response.json()
    if isinstance(body, dict):
        body.pop("id", None)
    return body


async def test_rerank_ranks_cuts_and_gives_documents_back_where_it_is_asked_to() -> None:
    async with gateway_world() as world:
        first = await post(world, "/v1/rerank", RERANK | {"top_n": 2, "return_documents": True})
        second = await post(world, "/v2/rerank", RERANK)
        litellm = await post(world, "/v2/rerank", RERANK | {"return_documents": True})
        refused = await post(world, "/v2/rerank", RERANK | {"max_tokens_per_doc": 7})
        nothing = await post(world, "/v1/rerank", RERANK | {"top_n": 0})
    assert first.json()["results"] == [
        {"index": 1, "relevance_score": sigmoid(3), "document": {"text": "ccc"}},
        {"index": 2, "relevance_score": sigmoid(2), "document": {"text": "bb"}},
    ]
    assert [entry["index"] for entry in second.json()["results"]] == [1, 2, 0]
    assert "document" not in second.json()["results"][0]
    assert litellm.json()["results"][0]["document"] == {"text": "ccc"}
    assert (refused.status_code, nothing.status_code) == (400, 400)
    assert refused.json()["detail"]["field"] == "$.max_tokens_per_doc"
    for answer in (first, second):
        assert answer.json()["id"] == answer.headers["X-SIE-Request-Id"]
        assert answer.json()["meta"]["billed_units"] == {"search_units": 1}
        assert answer.json()["usage"]["total_tokens"] == 9
    assert second.json()["meta"]["api_version"] == {"version": "2"}
    assert refused.json()["message"] == refused.json()["detail"]["message"]


async def test_a_probability_of_the_model_is_the_relevance_and_no_sigmoid_of_it() -> None:
    def judged(job: Job) -> JobResult:
        rows = [
            {"score": 1.866, "relevance": 0.866, "logit": 1.866},
            {"score": 0.75, "relevance": 0.75, "logit": 1.0986},
        ]
        answers = tuple(msgspec.msgpack.encode(row) for row in rows)
        return echo_result(job, answers=answers)

    two = {"query": "q", "model": "ranker"}
    async with gateway_world() as world:
        world.echo.answer = judged
        cohere = await post(world, "/v1/rerank", two | {"documents": ["a", "b"]})
        tei = await post(world, "/rerank", two | {"texts": ["a", "b"]})
        raw = await post(world, "/rerank", two | {"texts": ["a", "b"], "raw_scores": True})
    assert [entry["relevance_score"] for entry in cohere.json()["results"]] == [0.866, 0.75]
    assert [entry["score"] for entry in tei.json()] == [0.866, 0.75]
    assert [entry["score"] for entry in raw.json()] == [1.866, 1.0986]


async def test_tei_embeds_and_reranks_with_the_model_of_the_setting_or_of_the_request() -> None:
    async with gateway_world(tei_embed_model="dense", tei_rerank_model="ranker") as world:
        one = await post(world, "/embed", {"inputs": "four", "normalize": False})
        many = await post(world, "/embed", OWN_LENGTH | {"inputs": ["a", "bb"]})
        ranked = await post(world, "/rerank", {"query": "q", "texts": ["a", "ccc"]})
        raw = await post(world, "/rerank", TEI_RERANK | {"raw_scores": True, "return_text": True})
    assert one.json() == [[4.0, 0.0, 0.0]]
    assert many.json() == [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0]]
    assert ranked.json() == [
        {"index": 1, "score": sigmoid(3)},
        {"index": 0, "score": sigmoid(1)},
    ]
    assert raw.json()[0] == {"index": 1, "score": 3.0, "text": "ccc"}


async def test_tei_refuses_what_it_cannot_give_and_a_request_without_any_model() -> None:
    async with gateway_world() as world:
        nameless = await post(world, "/embed", {"inputs": "a"})
        raw = await post(world, "/predict", TEI_PREDICT | {"raw_scores": True})
    for response, told in ((nameless, "$.model"), (raw, "takes no option 'activation'")):
        assert response.status_code == 400
        assert response.json()["error_type"] == "Validation"
        assert told in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "options"),
    [
        ("/embed", TEI_EMBED | {"truncate": False}, {"truncate": "none"}),
        ("/embed", TEI_EMBED | {"truncation_direction": "Left"}, {"truncate": "start"}),
        ("/rerank", TEI_RERANK | {"truncation_direction": "Right"}, {"truncate": "end"}),
        ("/embed", TEI_EMBED | {"truncate": True, "normalize": False}, {"normalize": False}),
        ("/v2/embed", COHERE_EMBED | {"truncate": "NONE"}, {"truncate": "none"}),
        ("/v1/embed", COHERE_EMBED | {"truncate": "START"}, {"truncate": "start"}),
    ],
)
async def test_what_is_said_of_cutting_and_of_length_reaches_the_worker(
    path: str, body: dict[str, Any], options: dict[str, Any]
) -> None:
    async with gateway_world() as world:
        response = await post(world, path, body)
        [job] = world.echo.seen
    assert response.status_code == 200, response.text
    assert {name: job.options.get(name) for name in options} == options


@pytest.mark.parametrize("said", [{}, {"normalize": True}, {"normalize": None}])
async def test_tei_gives_vectors_of_length_1_unless_that_is_denied(said: dict[str, Any]) -> None:
    """That API's default is true, and what a model's profile says is not known to its clients."""
    async with gateway_world() as world:
        unit = await post(world, "/embed", TEI_EMBED | said)
        own = await post(world, "/embed", OWN_LENGTH)
        ours = await post(world, "/embed", TEI_EMBED | {"options": {"normalize": False}})
    assert unit.json() == [[1.0, 0.0, 0.0]]
    assert own.json() == ours.json() == [[4.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("inputs", "items"),
    [([7, 8], [(7, 8)]), ([[7, 8], [9]], [(7, 8), (9,)]), (["a", [7]], ["a", (7,)])],
)
async def test_tei_takes_token_ids_as_it_does_itself(inputs: Any, items: list[Any]) -> None:
    async with gateway_world() as world:
        response = await post(world, "/embed", TEI_EMBED | {"inputs": inputs})
        [job] = world.echo.seen
    assert len(response.json()) == len(items)
    assert [item.token_ids or item.text for item in job.items] == items


async def test_tei_reads_several_strings_as_a_pair_which_no_model_here_does() -> None:
    async with gateway_world() as world:
        flat = await post(world, "/predict", TEI_PREDICT | {"inputs": ["a", "b"]})
        inner = await post(world, "/predict", TEI_PREDICT | {"inputs": [["a"], ["a", "b"]]})
    assert (flat.status_code, flat.json()["detail"]["field"]) == (400, "$.inputs")
    assert (inner.status_code, inner.json()["detail"]["field"]) == (400, "$.inputs[1]")
    assert "are a pair" in flat.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "field", "whole", "other"),
    [
        ("/v1/embeddings", EMBEDDINGS, "dimensions", "2.0", "2.5"),
        ("/v1/embeddings", EMBEDDINGS, "input", "[[7.0, 8e0]]", "[[7.5]]"),
        ("/v2/rerank", RERANK, "top_n", "1.0", "1.5"),
        ("/v1/rerank", RERANK, "max_tokens_per_doc", "4096.0", "1e300"),
        ("/v1/encode/org/dense", {"items": [{"text": "a"}]}, "params.dimensions", "2.0", "2.5"),
    ],
)
async def test_a_whole_number_may_have_a_point(
    path: str, body: dict[str, Any], field: str, whole: str, other: str
) -> None:
    """JSON has one kind of numbers, and some languages write each with a point."""
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            answers = [
                await http.post(
                    path,
                    content=_with(body, field, value),
                    headers={"Content-Type": "application/json"},
                )
                for value in (whole, other)
            ]
    assert answers[0].status_code == 200, answers[0].text
    assert answers[1].status_code == 400
    assert field in answers[1].json()["detail"]["field"]


def _with(body: dict[str, Any], field: str, value: str) -> bytes:
    """The body as JSON with a field, at its end, that is written so."""
    outer, _, inner = field.partition(".")
    told = f'{{"{inner}": {value}}}' if inner else value
    rest = msgspec.json.encode({name: own for name, own in body.items() if name != outer})
    return rest[:-1] + f', "{outer}": {told}}}'.encode()


@pytest.mark.parametrize("half", ["\\ud800x", "x\\ud800", "\\uDC00", "\\ud800\\u0041"])
async def test_half_a_surrogate_pair_is_told_by_its_place(half: str) -> None:
    """Python and JavaScript write what they cut inside a character so."""
    body = f'{{"model": "org/dense", "input": "{half}"}}'.encode()
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            response = await http.post("/v1/embeddings", content=body)
    assert response.status_code == 400
    place = body.index(b"\\u")
    assert f"(byte {place}) is half of a surrogate pair" in response.json()["error"]["message"]


async def test_a_byte_of_another_charset_is_told_by_its_place_in_the_body() -> None:
    body = '{"model": "org/dense", "input": "caf\u00e9"}'.encode("latin-1")
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            response = await http.post("/v1/embeddings", content=body)
    assert response.status_code == 400
    told = f"byte {body.index(0xE9)} (0xe9) is no UTF-8"
    assert told in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("encode/org/dense", {"items": [{"text": "a"}], "options": {}}, "`params`"),
        ("encode/org/dense", {"items": [{"text": "a"}], "lora": "x"}, "`params.options`"),
        ("encode/org/dense", {"items": [{"text": "a"}], "params": {"lora": "x"}}, "`options`"),
        ("encode/org/dense", {"items": [{"text": "a"}], "text": "b"}, "`items`"),
        ("embeddings", {"model": "org/dense", "input": "a", "lora": "x"}, "`options`"),
    ],
)
async def test_a_field_beside_its_place_is_told_the_place(
    path: str, body: dict[str, Any], told: str
) -> None:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            response = await http.post(f"/v1/{path}", json=body)
    assert response.status_code == 400
    assert f"it stands in {told}" in response.json()["detail"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("encode/org/dense", {"items": ["a"]}),
        ("score/org/dense", {"query": "a", "items": [{"text": "b"}]}),
        ("score/org/dense", {"query": {"text": "a"}, "items": [{"text": "b"}, "c"]}),
    ],
)
async def test_a_bare_text_is_told_how_it_is_written(path: str, body: dict[str, Any]) -> None:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            response = await http.post(f"/v1/{path}", json=body)
    assert response.status_code == 400
    assert response.json()["detail"]["message"].endswith('; a text is written {"text": "…"}')


async def test_a_text_that_may_not_be_cut_is_413_to_tei_and_400_to_others() -> None:
    def refused(job: Job) -> JobResult:
        failure = ItemFailure(0, "INPUT_TOO_LONG", "the text has 600 tokens")
        return echo_result(job, answers=(b"",), item_failures=(failure,))

    async with gateway_world() as world:
        world.echo.answer = refused
        tei = await post(world, "/embed", TEI_EMBED | {"inputs": "a", "truncate": False})
        cohere = await post(world, "/v2/embed", COHERE_EMBED | {"texts": ["a"]})
    assert (tei.status_code, cohere.status_code) == (413, 400)
    assert tei.json()["error"] == "the text has 600 tokens"
    assert tei.json()["error_type"] == "Validation"


async def test_a_document_may_be_an_object_of_which_some_fields_are_ranked() -> None:
    documents = [{"text": "a"}, "ccc", {"title": "bb", "year": 7}]
    async with gateway_world() as world:
        missing = await post(world, "/v1/rerank", RERANK | {"documents": documents})
        named = RERANK | {"documents": documents[2:], "rank_fields": ["title", "year"]}
        fields = await post(world, "/v2/rerank", named | {"return_documents": True})
        plain = await post(world, "/rerank", RERANK | {"documents": documents[:2]})
        assert [item.text for job in world.echo.seen for item in job.items] == [
            "title: bb\nyear: 7",
            "a",
            "ccc",
        ]
    assert missing.json()["detail"]["field"] == "$.documents[2].text"
    assert fields.json()["results"][0]["document"] == documents[2]
    assert [result["index"] for result in plain.json()["results"]] == [1, 0]
    assert plain.json()["object"] == "rerank"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/rerank", RERANK | {"max_chunks_per_doc": 3}, "$.max_chunks_per_doc"),
        ("/v1/rerank", RERANK | {"priority": 1}, "$.priority"),
        ("/v2/embed", COHERE_EMBED | {"images": ["data:"]}, "$.images"),
        ("/v1/embeddings", EMBEDDINGS | {"input_type": "poem"}, "$.input_type"),
        ("/v1/embeddings", EMBEDDINGS | {"priority": 1}, "$.priority"),
        (
            "/v1/embeddings",
            EMBEDDINGS | {"dimensions": 3, "output_dimension": 2},
            "$.output_dimension",
        ),
        ("/embed", TEI_EMBED | {"prompt_name": "poem"}, "$.prompt_name"),
        ("/rerank", TEI_RERANK | {"documents": ["a"]}, "$.texts"),
    ],
)
async def test_what_would_change_the_answer_and_cannot_is_refused_by_name(
    path: str, body: dict[str, Any], field: str
) -> None:
    async with gateway_world() as world:
        response = await post(world, path, body)
        assert world.echo.seen == []
    assert response.status_code == 400
    assert response.json()["detail"]["field"] == field


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", RERANK | {"max_chunks_per_doc": 10, "return_documents": False}),
        ("/v2/rerank", RERANK | {"max_tokens_per_doc": 4096, "priority": 0}),
        ("/v2/embed", COHERE_EMBED | {"truncate": "END", "embedding_types": ["float"]}),
        ("/embed", TEI_EMBED | {"truncate": True, "normalize": True, "prompt_name": "query"}),
        ("/embed", TEI_EMBED | {"truncation_direction": "Right"}),
        ("/rerank", TEI_RERANK | {"raw_scores": False, "top_n": 1, "return_text": True}),
        ("/v1/embeddings", EMBEDDINGS | {"encoding_format": "float", "user": "u"}),
        ("/v1/embeddings", EMBEDDINGS | {"add_special_tokens": True, "priority": 0}),
        ("/v1/embeddings", EMBEDDINGS | {"truncation": True, "output_dtype": "float"}),
    ],
)
async def test_a_field_that_says_what_is_so_anyway_is_taken(
    path: str, body: dict[str, Any]
) -> None:
    async with gateway_world() as world:
        response = await post(world, path, body)
    assert response.status_code == 200, response.text


async def test_cohere_embeds_queries_as_queries_and_tells_each_version_in_its_own_shape() -> None:
    async with gateway_world() as world:
        first = await post(world, "/v1/embed", COHERE_EMBED)
        typed = await post(world, "/v1/embed", COHERE_EMBED | {"embedding_types": ["base64"]})
        contents = [{"content": [{"type": "text", "text": "four"}]}]
        second = {"model": "dense", "inputs": contents, "input_type": "search_document"}
        answer = await post(world, "/v2/embed", second)
        assert [job.options for job in world.echo.seen] == [
            {"is_query": True},
            {"is_query": True},
            {"is_query": False},
        ]
    assert first.json()["embeddings"] == [[1.0, 0.0, 0.0], [4.0, 1.0, 0.0]]
    assert first.json()["response_type"] == "embeddings_floats"
    packed = base64.b64decode(typed.json()["embeddings"]["base64"][1])
    assert np.frombuffer(packed, "<f4").tolist() == [4.0, 1.0, 0.0]
    assert answer.json()["embeddings"] == {"float": [[4.0, 0.0, 0.0]]}
    assert answer.json()["texts"] == ["four"]
    assert answer.json()["meta"]["billed_units"] == {"input_tokens": 3}


async def test_cohere_has_a_vector_in_as_many_types_as_it_asks_for() -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    async with gateway_world() as world:
        body = COHERE_EMBED | {"embedding_types": [*types, "int8"]}
        told = (await post(world, "/v2/embed", body)).json()["embeddings"]
        [job] = world.echo.seen
    assert job.output_dtype == "float32"
    assert list(told) == types
    coded = np.frombuffer(base64.b64decode(told.pop("base64")[1]), "<f4")
    assert (told.pop("float")[1], coded.tolist()) == ([4.0, 1.0, 0.0], [4.0, 1.0, 0.0])
    # Each scaled by itself; the byte of signs is 0b11000000, and 128 less where it has a sign.
    assert {kind: rows[1] for kind, rows in told.items()} == {
        "int8": [127, 32, 0],
        "uint8": [255, 64, 0],
        "binary": [64],
        "ubinary": [192],
    }


async def test_what_clients_of_voyage_and_nvidia_say_is_what_ours_say() -> None:
    voyage = {"input_type": "query", "truncation": False, "output_dimension": 2}
    nvidia = {"input_type": "passage", "truncate": "START", "encoding_format": "float"}
    async with gateway_world() as world:
        for said in (voyage, nvidia):
            assert (await post(world, "/v1/embeddings", EMBEDDINGS | said)).status_code == 200
        asked = [(job.options, job.dimensions) for job in world.echo.seen]
    assert asked == [
        ({"is_query": True, "truncate": "none"}, 2),
        ({"is_query": False, "truncate": "start"}, None),
    ]


async def test_numbers_have_the_types_of_voyage_mistral_and_jina() -> None:
    async with gateway_world() as world:
        kept: dict[str, Any] = {}
        for said in (
            {"output_dtype": "int8"},
            {"output_dtype": "binary", "encoding_format": "base64"},
            {"embedding_type": "ubinary"},
            {"encoding_type": "binary"},
            {"encoding_type": "float", "output_dtype": "float"},
        ):
            answer = await post(world, "/v1/embeddings", EMBEDDINGS | said)
            assert answer.status_code == 200, answer.text
            kept[json.dumps(said)] = answer.json()["data"][1]["embedding"]
        two = {"output_dtype": "int8", "encoding_type": "binary"}
        refused = await post(world, "/v1/embeddings", EMBEDDINGS | two)
        asked = [job.output_dtype for job in world.echo.seen]
    assert asked == ["int8", "binary", "ubinary", "binary", "float32"]
    scaled, coded, signs, signed, floats = kept.values()
    # Scaled by itself; the byte of signs is 0b11000000, and 128 less where it has a sign.
    assert (scaled, signs, signed, floats) == ([127, 32, 0], [192], [64], [4.0, 1.0, 0.0])
    assert np.frombuffer(base64.b64decode(coded), np.int8).tolist() == [64]
    assert refused.json()["detail"]["field"] == "$.encoding_type"


async def test_voyage_has_its_rankings_and_errors_under_a_base_url_of_its_own() -> None:
    usual = {"model": "ranker", "query": "q", "documents": ["a", "ccc"]}
    async with gateway_world() as world:
        plain = await post(world, "/voyage/v1/rerank", usual | {"top_k": None, "truncation": True})
        whole = {"top_k": 1, "return_documents": True, "truncation": False}
        best = await post(world, "/voyage/v1/rerank", usual | whole)
        unknown = await post(world, "/voyage/v1/embeddings", EMBEDDINGS | {"model": "nobody"})
        of_cohere = await post(world, "/voyage/v1/rerank", usual | {"top_n": 1})
        asked = [job.options for job in world.echo.seen]
    assert [each["index"] for each in plain.json()["data"]] == [1, 0]
    assert plain.json()["usage"]["total_tokens"] > 0
    [entry] = best.json()["data"]
    assert (entry["index"], entry["document"]) == (1, "ccc")
    assert asked == [{}, {"truncate": "none"}]
    # Its client shows `detail`, and fails on one that is no text.
    assert unknown.status_code == 404
    assert unknown.json() == {
        "detail": "there is no model 'nobody'; GET /v1/models lists them",
        "code": "MODEL_NOT_FOUND",
        "field": "model",
    }
    assert (of_cohere.status_code, of_cohere.json()["field"]) == (400, "$.top_n")


async def test_nvidia_ranks_passages_by_logits_and_cuts_none_unasked() -> None:
    async with gateway_world() as world:
        told = await post(world, "/v1/ranking", NVIDIA_RANKING)
        cut = await post(world, "/v1/ranking", NVIDIA_RANKING | {"truncate": "END"})
        picture = {"passages": [{"text": "a", "image": "data:"}]}
        refused = await post(world, "/v1/ranking", NVIDIA_RANKING | picture)
        asked = [job.options for job in world.echo.seen]
    assert [each["index"] for each in told.json()["rankings"]] == [1, 2, 0]
    assert all(each.keys() == {"index", "logit"} for each in told.json()["rankings"])
    assert cut.json()["rankings"] == told.json()["rankings"]
    assert asked == [{"truncate": "none"}, {}]
    assert (refused.status_code, "passages[0].image" in refused.text) == (400, True)


async def test_what_clients_of_xinference_mistral_and_the_hub_send_and_read() -> None:
    xinference = {"max_chunks_per_doc": None, "return_len": None, "kwargs": "{}"}
    hints = {"options": {"wait_for_model": True, "use_cache": True, "lora": "legal"}}
    async with gateway_world() as world:
        ranked = await post(world, "/v1/rerank", RERANK | xinference)
        changed = await post(world, "/v1/rerank", RERANK | {"kwargs": '{"a": 1}'})
        texts = {"input": [{"text": "a"}, "four"]}
        embedded = await post(world, "/v1/embeddings", EMBEDDINGS | texts)
        picture = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": [{"image": "x"}]})
        hub = await post(world, "/tei/org/dense", {"inputs": ["four"]} | hints)
        kinds = [
            (await get(world, f"/v1/models/{name}")).json()["model_type"]
            for name in ("org/dense", "ranker", "finder")
        ]
        lora = world.echo.seen[-1].adapter
    assert (ranked.status_code, changed.status_code) == (200, 400)
    assert changed.json()["detail"]["field"] == "$.kwargs"
    vectors = [each["embedding"] for each in embedded.json()["data"]]
    assert vectors == [[1.0, 0.0, 0.0], [4.0, 1.0, 0.0]]
    assert embedded.json()["id"] and embedded.json()["usage"]["completion_tokens"] == 0
    assert (picture.status_code, "image" in picture.json()["error"]["message"]) == (400, True)
    # The third number of the echo is the adapter's.
    assert hub.json()[0][2] > 0 and lora is not None
    assert kinds == ["embedding", "rerank", None]


async def test_tei_has_a_view_of_each_model_whose_requests_name_none() -> None:
    async with gateway_world() as world:
        vectors = [
            await post(world, path, {"inputs": "four"})
            for path in ("/tei/org/dense", "/tei/dense/", "/tei/org/dense/embed")
        ]
        openai_form = await post(world, "/tei/dense/v1/embeddings", {"input": "four", "model": "x"})
        ranked = await post(world, "/tei/ranker", {"query": "q", "texts": ["a", "ccc"]})
        other = {"inputs": {"source_sentence": "four", "sentences": ["four", "a"]}}
        alike = await post(world, "/tei/dense", other)
        unknown = await post(world, "/tei/nobody/embed", {"inputs": "a"})
        info = await get(world, "/tei/org/dense/info")
        health = await get(world, "/tei/org/dense/health")
        nowhere = await get(world, "/tei/org/dense")
    assert [answer.json() for answer in vectors] == [[[1.0, 0.0, 0.0]]] * 3
    assert openai_form.json()["data"][0]["embedding"] == [4.0, 0.0, 0.0]
    assert [entry["index"] for entry in ranked.json()] == [1, 0]
    assert alike.json()[0] == pytest.approx(16 / np.sqrt(16 * 17))
    assert unknown.json()["detail"]["code"] == "MODEL_NOT_FOUND"
    assert info.json()["model_id"] == "org/dense"
    assert info.json()["model_type"] == {"embedding": {"pooling": "mean"}}
    fields = {"max_concurrent_requests", "max_batch_requests", "tokenization_workers", "sha"}
    assert fields <= info.json().keys()
    assert (health.status_code, nowhere.status_code) == (200, 404)


async def test_a_mark_of_utf8_is_passed_over_and_utf16_is_told() -> None:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            text = json.dumps(EMBEDDINGS)
            marked = await http.post("/v1/embeddings", content=text.encode("utf-8-sig"))
            other = await http.post("/v1/embeddings", content=text.encode("utf-16"))
    assert marked.status_code == 200, marked.text
    assert (other.status_code, "JSON is sent as UTF-8" in other.text) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/embed", {"inputs": []}, "inputs"),
        ("/embed_all", {"inputs": []}, "inputs"),
        ("/embed_sparse", {"inputs": []}, "inputs"),
        ("/predict", {"model": "finder", "inputs": []}, "inputs"),
        ("/rerank", {"model": "ranker", "query": "q", "texts": []}, "texts"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, "inputs.sentences"),
    ],
)
async def test_tei_has_a_word_of_its_own_for_no_text_at_all(path, body, field) -> None:
    async with gateway_world() as world:
        response = await post(world, path, {"model": "org/dense"} | body)
    told = response.json()
    assert (response.status_code, told["error_type"]) == (400, "Empty")
    assert told["detail"]["field"] == f"$.{field}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "dense", "input": ""}),
        ("/v1/embeddings", {"model": "dense", "input": ["", " "]}),
        ("/embed", {"model": "dense", "inputs": ""}),
        ("/v2/embed", COHERE_EMBED | {"texts": [""]}),
        ("/v1/rerank", RERANK | {"query": "", "documents": ["", "a"]}),
    ],
)
async def test_an_empty_text_is_a_text(path: str, body: dict[str, Any]) -> None:
    async with gateway_world() as world:
        response = await post(world, path, body)
    assert response.status_code == 200, response.text


async def test_what_clients_of_infinity_and_jina_send_by_default_is_taken() -> None:
    async with gateway_world() as world:
        defaults = {"modality": "text", "dimensions": 0, "encoding_format": "float"}
        infinity = await post(world, "/embeddings", EMBEDDINGS | defaults)
        jina = {"task": "retrieval.query", "normalized": True, "truncate": False}
        said = EMBEDDINGS | jina | {"late_chunking": False, "embedding_type": "base64"}
        coded = await post(world, "/v1/embeddings", said)
        [plain, asked] = world.echo.seen
        other = await post(world, "/v1/embeddings", EMBEDDINGS | {"input_type": "text-matching"})
        sides = {"task": "query", "input_type": "passage"}
        both = await post(world, "/v1/embeddings", EMBEDDINGS | sides)
        cut = {"truncation": False, "truncate": "END"}
        torn = await post(world, "/v1/embeddings", EMBEDDINGS | cut)
        task = await post(world, "/v1/embeddings", EMBEDDINGS | {"task": "text-matching"})
        late = await post(world, "/v1/embeddings", EMBEDDINGS | {"late_chunking": True})
        models = (await get(world, "/models")).json()
    assert infinity.json()["data"][1]["embedding"] == [4.0, 1.0, 0.0]
    assert (plain.options, plain.dimensions) == ({}, None)
    assert asked.options == {"is_query": True, "normalize": True, "truncate": "none"}
    assert isinstance(coded.json()["data"][0]["embedding"], str)
    # The option that it stands for is one of models with tasks.
    assert task.json()["error"]["param"] == "options.task"
    refused = (other, both, torn, late)
    assert [each.json()["error"]["param"] for each in refused] == [
        "input_type",
        "input_type",
        "truncate",
        "late_chunking",
    ]
    told = {each["id"]: (each["capabilities"], each["stats"]) for each in models["data"]}
    assert (told["org/dense"], told["ranker"]) == ((["embed"], {}), (["rerank"], {}))


async def test_tei_gives_tokens_words_and_classes_where_the_model_has_them() -> None:
    def answer(job: Job) -> JobResult:
        array = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
        told = {
            "multivector": {"values": arrays.to_wire(array)},
            "sparse": {
                "indices": arrays.to_wire(np.array([3, 9], dtype=np.int32)),
                "values": arrays.to_wire(np.array([0.5, 1.0], dtype=np.float32)),
            },
            "classifications": [{"label": "good", "score": 0.75}],
        }
        return echo_result(job, answers=(msgspec.msgpack.encode(told),) * len(job.items))

    outputs = {"encode": {"outputs": ["dense", "sparse", "multivector"]}, "extract": {}}
    async with gateway_world() as world:
        world.resolver = resolver_of(
            [
                model("all", outputs),
                model("sorter", {"extract": {}}),
                ("bundle", "default", {"name": "default", "backends": ["echo"]}),
                ("pool", "default", {"name": "default"}),
            ]
        )
        world.echo.answer = answer
        tokens = await post(world, "/tei/all/embed_all", {"inputs": ["a"]})
        units = await post(world, "/embed_all", {"model": "all", "inputs": "a", "normalize": True})
        words = await post(world, "/tei/all/embed_sparse", {"inputs": "a"})
        one = await post(world, "/tei/all/predict", {"inputs": "a"})
        sorted_at_root = await post(world, "/tei/sorter", {"inputs": "a"})
        named = await post(world, "/", {"model": "sorter", "inputs": "a"})
        listed = await post(world, "/tei/all/predict", {"inputs": ["a"]})
        two = await post(world, "/tei/all/predict", {"inputs": [["a"], ["b"]], "raw_scores": False})
        infinity = await post(world, "/classify", {"model": "all", "input": ["a", "b"]})
        unclassed = await post(world, "/classify", {"model": "nobody", "input": ["a"]})
    assert tokens.json() == [[[1.0, 2.0], [3.0, 4.0]]]
    assert np.linalg.norm(units.json()[0], axis=1) == pytest.approx([1.0, 1.0])
    assert words.json() == [[{"index": 3, "value": 0.5}, {"index": 9, "value": 1.0}]]
    assert one.json() == [{"label": "good", "score": 0.75}]
    assert sorted_at_root.json() == named.json() == one.json()
    assert listed.json() == one.json()
    assert two.json() == [one.json()] * 2
    assert (infinity.json()["object"], infinity.json()["data"]) == ("classify", two.json())
    assert unclassed.json()["error"]["code"] == "model_not_found"


async def test_the_openai_client_finds_a_message_wherever_it_ends_up() -> None:
    async with gateway_world() as world, openai_client(world) as client:
        with pytest.raises(openai.NotFoundError, match="nope") as unknown:
            await client.models.retrieve("nope")
        with pytest.raises(openai.NotFoundError, match="there is nothing at") as nowhere:
            await client.moderations.create(input="a")
        listed = [each.id async for each in client.models.list()]
        client.base_url = httpx.URL("http://gateway")
        [embedded] = (await client.embeddings.create(model="dense", input="four")).data
        retrieved = await client.models.retrieve("org/dense")
    assert unknown.value.code == "model_not_found"
    assert nowhere.value.code == "not_found"
    assert "org/dense" in listed
    assert embedded.embedding == [4.0, 0.0, 0.0]
    assert retrieved.id == "org/dense"


async def test_a_null_of_the_native_form_is_absent_and_one_in_a_list_is_not() -> None:
    async with gateway_world() as world:
        nulls = {"items": [{"text": "four", "images": None, "id": None}], "params": None}
        taken = await post(world, "/v1/encode/dense", nulls)
        refused = await post(world, "/v1/encode/dense", {"items": [{"text": "a"}, None]})
        kept = {"items": [{"text": "a"}], "params": {"options": {"is_query": None}}}
        await post(world, "/v1/encode/dense", kept)
        assert [job.options for job in world.echo.seen] == [{}, {}]
    assert taken.json()["items"][0]["dense"]["values"] == [4.0, 0.0, 0.0]
    assert refused.json()["detail"]["field"] == "$.items[1]"


async def test_an_id_that_is_made_up_is_never_one_of_the_clients() -> None:
    items = [{"text": "a"}, {"text": "bb", "id": "item-0"}, {"text": "ccc", "id": "item-0-"}]
    async with gateway_world() as world:
        body = {"query": {"text": "q"}, "items": items}
        scores = (await post(world, "/v1/score/ranker", body)).json()["scores"]
    assert [entry["item_id"] for entry in scores] == ["item-0-", "item-0", "item-0--"]


async def test_token_ids_are_inputs_of_their_own_in_each_form_that_openai_has() -> None:
    async with gateway_world() as world, openai_client(world) as client:
        await client.embeddings.create(model="dense", input=[7592, 2088])
        two = await client.embeddings.create(model="dense", input=[[7592], [2088, 7]])
        mixed = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": ["a", 7]})
        below = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": ["a", [7, -1]]})
        native = {"items": [{"token_ids": [7]}]}
        taken = await post(world, "/v1/encode/dense", native)
        scored = await post(world, "/v1/score/ranker", native | {"query": {"text": "q"}})
        both = await post(world, "/v1/encode/dense", {"items": [{"text": "a", "token_ids": [7]}]})
        assert [[item.token_ids for item in job.items] for job in world.echo.seen] == [
            [(7592, 2088)],
            [(7592,), (2088, 7)],
            [(7,)],
        ]
        assert {job.v for job in world.echo.seen} == {JOB_VERSION}
    assert len(two.data) == 2
    assert mixed.json()["error"]["param"] == "input[1]"
    # The item, the place in it and the number itself: in a list of thousands nobody finds it.
    assert below.json()["error"]["param"] == "input[1][1]"
    assert "input[1][1] is -1" in below.json()["error"]["message"]
    assert taken.status_code == 200
    for refused in (scored, both):
        assert refused.json()["detail"]["field"] == "$.items[0].token_ids"


async def test_the_published_sdk_is_told_the_widths_that_its_tables_are_made_of() -> None:
    published = {"X-SIE-SDK-Version": "0.10.1"}
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            first = await http.get("/v1/models/org/dense", headers=published)
            again = await http.get("/v1/models/org/dense", headers=published)
            other = await http.get("/v1/models/ranker", headers=published)
            ours = await http.get("/v1/models/org/dense")
        assert len(world.echo.seen) == 1
    assert first.json()["dims"] == again.json()["dims"] == {"dense": 3}
    assert (other.json()["dims"], ours.json()["dims"]) == (None, None)
    async with gateway_world(warm=False) as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            cold = await http.get("/v1/models/org/dense", headers=published)
    assert (cold.status_code, cold.json()["error"]["code"]) == (503, "provisioning")


def vocabulary_file(folder: Path, *lines: str) -> Path:
    """A vocabulary of the three words `a`, ` b` and half a character."""
    words = (b"a", b" b", "é".encode()[:1])
    made = [f"{base64.b64encode(word).decode()} {place}" for place, word in enumerate(words)]
    path = folder / "words.tiktoken"
    path.write_text("\n".join([*made, *lines]))
    return path


async def test_token_ids_are_of_the_vocabulary_that_the_gateway_was_given(tmp_path: Path) -> None:
    async with gateway_world(token_vocabulary=vocabulary_file(tmp_path)) as world:
        found = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": [[0, 1], [1, 2]]})
        below = await post(world, "/tei/dense/v1/embeddings", {"input": [0]})
        unknown = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": [[0], [0, 9]]})
        read = [item.text for job in world.echo.seen for item in job.items]
    assert (found.status_code, below.status_code) == (200, 200)
    assert read == ["a b", " b\N{REPLACEMENT CHARACTER}", "a"]
    assert unknown.status_code == 400
    assert unknown.json()["error"]["param"] == "input[1][1]"


async def test_a_file_that_is_no_vocabulary_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 4 is no token"):
        async with gateway_world(token_vocabulary=vocabulary_file(tmp_path, "nonsense")):
            pass
    with pytest.raises(ValueError, match="token_vocabulary: there is no file"):
        async with gateway_world(token_vocabulary=tmp_path / "nowhere"):
            pass


async def test_an_embedding_of_ollama_tells_how_long_it_took() -> None:
    async with gateway_world() as world:
        told = (await post(world, "/api/embed", OLLAMA_EMBED)).json()
    assert isinstance(told["total_duration"], int)
    assert 0 <= told["load_duration"] <= told["total_duration"]
