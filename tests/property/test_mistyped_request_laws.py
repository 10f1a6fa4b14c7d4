"""A thousand mistakes in requests to every route of the gateway: none is passed over.

The routes and their fields come from the gateway's own document. Options of real models have the
same law on a real cluster (`test_mistyped_options.py`), documents at sie-config
(`test_mistyped_document_laws.py`).
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from tests.support.gateway_world import echo_result, gateway_world, model
from tests.support.mistakes import Route, misspelt, mistaken_body, mistaken_query, routes

from sie_core.backend_options import GENERAL
from sie_schemas.jobs import Job, JobResult

_ROUTES = routes("sie-gateway")
_NAMED = {"model": "org/many", "spec": "org/many", "model_id": "org/many", "name": "default"}
_EMBED = {"model": "org/many", "inputs": ["a", "b"], "options": {}}
_COHERE = {
    "model": "org/many",
    "texts": ["a"],
    "input_type": "search_document",
    "embedding_types": ["float"],
    "truncate": "END",
    "options": {},
}
_RERANK = {
    "model": "ranker",
    "query": "q",
    "documents": ["a", {"text": "b"}],
    "top_n": 1,
    "return_documents": True,
    "options": {},
}
_PAIRS = {
    "model": "ranker",
    "text_1": "q",
    "text_2": ["a"],
    "use_activation": True,
    "user": "u",
    "options": {},
}
_OPENAI = {"model": "org/many", "input": ["a"], "encoding_format": "float", "options": {}}
_TEI: dict[str, dict[str, Any]] = {
    "/embed": _EMBED | {"truncate": True, "normalize": True, "prompt_name": "query"},
    "/embed_all": _EMBED | {"truncation_direction": "Right", "prompt_name": "document"},
    "/embed_sparse": _EMBED | {"truncate": True},
    "/predict": {"model": "finder", "inputs": ["a"], "raw_scores": False, "options": {}},
    "/rerank": {
        "model": "ranker",
        "query": "q",
        "texts": ["a"],
        "raw_scores": True,
        "return_text": True,
        "options": {},
    },
    "/similarity": {
        "model": "org/many",
        "inputs": {"source_sentence": "a", "sentences": ["b"]},
        "options": {},
    },
    "/embeddings": _OPENAI,
}
_RIGHT: dict[str, dict[str, Any]] = {
    "/v1/encode/{model}": {
        "items": [{"text": "a", "id": "x", "metadata": {"k": 1}}, {"token_ids": [1]}],
        "params": {
            "output_types": ["dense"],
            "output_dtype": "float32",
            "dimensions": 2,
            "options": {},
        },
    },
    "/v1/score/{model}": {"query": {"text": "q"}, "items": [{"text": "a"}], "options": {}},
    "/v1/extract/{model}": {
        "items": [{"text": "a"}],
        "params": {"labels": ["ALL"], "options": {}},
    },
    "/v1/embeddings": _OPENAI | {"user": "u", "dimensions": 2, "task": "retrieval.query"},
    "/v1/embed": _COHERE,
    "/v2/embed": _COHERE | {"output_dimension": 2, "priority": 0},
    "/v1/rerank": _RERANK,
    "/v2/rerank": _RERANK | {"max_tokens_per_doc": 4096},
    "/v1/ranking": {
        "model": "ranker",
        "query": {"text": "q"},
        "passages": [{"text": "a"}],
        "truncate": "END",
        "options": {},
    },
    "/voyage/v1/embeddings": _OPENAI | {"output_dtype": "int8", "input_type": "query"},
    "/voyage/v1/rerank": {
        "model": "ranker",
        "query": "q",
        "documents": ["a"],
        "top_k": 1,
        "return_documents": True,
        "truncation": True,
        "options": {},
    },
    "/score": _PAIRS,
    "/v1/score": _PAIRS,
    "/api/embed": {
        "model": "org/many",
        "input": ["a"],
        "truncate": True,
        "dimensions": 2,
        "keep_alive": "5m",
        "options": {},
    },
    "/api/embeddings": {"model": "org/many", "prompt": "a", "options": {}},
    "/": _TEI["/embed"],
    "/classify": {"model": "finder", "input": ["a"], "raw_scores": False, "options": {}},
    **_TEI,
    "/tei/{model}": _TEI["/embed"],
    **{f"/tei/{{model}}{path}": body for path, body in _TEI.items()},
    "/tei/{model}/v1/embeddings": _OPENAI,
    "/v1/pools": {"name": "mine", "gpus": {"cpu": 1}, "ttl_seconds": 60, "pinned_models": []},
}
"""A body that is right for each path that takes one."""
_OF_PATHS = {"score": "ranker", "rerank": "ranker", "extract": "finder", "predict": "finder"}
"""The model that a path names, by a part of it."""


def _path(route: Route) -> str:
    named = [_OF_PATHS[part] for part in route.path.split("/") if part in _OF_PATHS]
    path = route.path
    for name, value in (_NAMED | ({"model": named[0]} if named else {})).items():
        path = path.replace(f"{{{name}}}", value)
    return path


def _classified(job: Job) -> JobResult:
    """The echo, in which every text has a class too."""
    result = echo_result(job)
    if job.operation != "extract":
        return result
    told = [
        msgspec.msgpack.encode(
            msgspec.msgpack.decode(each) | {"classifications": [{"label": "ALL", "score": 1.0}]}
        )
        for each in result.answers
    ]
    return msgspec.structs.replace(result, answers=tuple(told))


@asynccontextmanager
async def _client() -> AsyncIterator[httpx.AsyncClient]:
    outputs = ["dense", "sparse", "multivector"]
    many = model("org/many", {"encode": {"outputs": outputs}})
    async with gateway_world(
        more=[many], tei_embed_model="org/many", tei_rerank_model="ranker"
    ) as world:
        world.echo.answer = _classified
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            yield client


def test_every_route_with_a_body_has_one_that_is_right():
    assert {route.path for route in _ROUTES if route.body is not None} == set(_RIGHT)


async def test_the_right_requests_are_answered():
    async with _client() as client:
        for route in _ROUTES:
            if route.method == "DELETE" or route.path.endswith("/renew"):
                continue
            body = _RIGHT.get(route.path) if route.body is not None else None
            answer = await client.request(route.method, _path(route), json=body)
            assert answer.status_code in (200, 201), f"{route.name}: {answer.text}"


@pytest.mark.parametrize("seed", range(4))
async def test_no_mistake_of_a_body_is_passed_over(seed):
    draw = random.Random(seed)
    headers = {"content-type": "application/json"}
    taking = [(route, route.body) for route in _ROUTES if route.body is not None]
    async with _client() as client:
        for turn in range(300):
            route, schema = taking[turn % len(taking)]
            right = _RIGHT[route.path]
            if "options" in right and draw.random() < 0.2:
                name = misspelt(draw, draw.choice(GENERAL).name, {each.name for each in GENERAL})
                wrong = right | {"options": {name: draw.choice([True, 1, "x"])}}
                answer = await client.post(_path(route), json=wrong)
                told = f"the option {name}"
            else:
                mistake = mistaken_body(draw, "sie-gateway", schema, right)
                told = f"{mistake.told} in {mistake.body!r}"
                answer = await client.post(_path(route), content=mistake.body, headers=headers)
            assert 400 <= answer.status_code < 500, f"{route.name}: {told}: {answer.text}"


@pytest.mark.parametrize("seed", range(4))
async def test_no_mistake_of_a_query_is_passed_over(seed):
    draw = random.Random(seed)
    hidden = [Route("GET", path, (), None, "") for path in ("/models", "/docs", "/openapi.json")]
    async with _client() as client:
        for route in [*_ROUTES, *hidden]:
            query = mistaken_query(draw, route)
            body = _RIGHT.get(route.path) if route.body is not None else None
            answer = await client.request(route.method, f"{_path(route)}?{query}", json=body)
            assert 400 <= answer.status_code < 500, f"{route.name}?{query}: {answer.text}"
            assert query.split("=")[0] in answer.text or "%" in query, answer.text
