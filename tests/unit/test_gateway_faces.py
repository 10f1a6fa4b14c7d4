"""The compatibility faces, over a bus in memory and with the other API's own client."""

import base64
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import numpy as np
import openai
import pytest
from tests.support.gateway_world import World, echo_result, gateway_world

from sie_schemas.jobs import ItemFailure, Job, JobResult

EMBEDDINGS = {"model": "org/dense", "input": ["a", "four"]}
RERANK = {"model": "ranker", "query": "q", "documents": ["a", "ccc", "bb"]}
TEI_RERANK = {"model": "ranker", "query": "q", "texts": ["a", "ccc", "bb"]}
TEI_EMBED = {"model": "org/dense", "inputs": "four"}
EVERY_FACE: list[tuple[str, dict[str, Any]]] = [
    ("/v1/embeddings", EMBEDDINGS),
    ("/v1/rerank", RERANK),
    ("/v2/rerank", RERANK),
    ("/embed", TEI_EMBED),
    ("/rerank", TEI_RERANK),
]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


async def post(world: World, path: str, body: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=world.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.post(path, json=body)


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
            await client.embeddings.create(model="org/dense", input=[1, 2, 3])
    assert (unknown.value.code, unknown.value.type) == ("model_not_found", "invalid_request_error")
    assert (cut.value.code, cut.value.param) == ("invalid_request", "dimensions")
    assert tokens.value.param == "input[0]"
    async with gateway_world(warm=False) as world, openai_client(world) as client:
        with pytest.raises(openai.InternalServerError) as cold:
            await client.embeddings.create(model="org/dense", input="a")
    assert (cold.value.status_code, cold.value.code) == (503, "provisioning")


@pytest.mark.parametrize(("path", "body"), EVERY_FACE)
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
            read = await http.get(path)
        assert world.echo.seen == []
    assert unknown.status_code == 400
    assert "no_such_field" in unknown.text
    assert (read.status_code, read.headers["Allow"]) == (405, "POST")


async def test_an_embedding_takes_an_adapter_as_an_option_of_ours() -> None:
    async with gateway_world() as world:
        body = EMBEDDINGS | {"options": {"lora": "legal"}}
        response = await post(world, "/v1/embeddings", body)
        wrong = await post(world, "/v1/embeddings", EMBEDDINGS | {"options": {"lora": "nobody"}})
    assert [entry["embedding"][2] for entry in response.json()["data"]] == [1.0, 1.0]
    assert wrong.json()["error"]["code"] == "adapter_not_found"
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
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "inference_error"


async def test_an_empty_input_and_one_that_is_too_large_name_the_clients_own_field() -> None:
    async with gateway_world(payload_bytes_max=5000, object_bytes_max=0) as world:
        empty = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": []})
        large = await post(world, "/v1/embeddings", EMBEDDINGS | {"input": ["a", "x" * 6000]})
    assert empty.json()["error"]["param"] == "input"
    assert large.json()["error"]["param"] == "input[1]"
    assert large.status_code == 413


async def test_rerank_ranks_cuts_and_gives_documents_back_only_in_version_one() -> None:
    async with gateway_world() as world:
        first = await post(world, "/v1/rerank", RERANK | {"top_n": 2, "return_documents": True})
        second = await post(world, "/v2/rerank", RERANK)
        refused = await post(world, "/v2/rerank", RERANK | {"return_documents": True})
        nothing = await post(world, "/v1/rerank", RERANK | {"top_n": 0})
    assert first.json()["results"] == [
        {"index": 1, "relevance_score": sigmoid(3), "document": {"text": "ccc"}},
        {"index": 2, "relevance_score": sigmoid(2), "document": {"text": "bb"}},
    ]
    assert [entry["index"] for entry in second.json()["results"]] == [1, 2, 0]
    assert "document" not in second.json()["results"][0]
    assert (refused.status_code, nothing.status_code) == (400, 400)
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
        one = await post(world, "/embed", {"inputs": "four"})
        many = await post(world, "/embed", TEI_EMBED | {"inputs": ["a", "bb"]})
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
        whole = await post(world, "/embed", TEI_EMBED | {"truncate": False})
        plain = await post(world, "/embed", TEI_EMBED | {"normalize": False})
    for response in (nameless, whole, plain):
        assert response.status_code == 400
        assert response.json()["error_type"] == "Validation"
    assert "$.model" in nameless.json()["error"]
    assert whole.headers["X-SIE-Error-Code"] == "UNSUPPORTED_FIELD"
