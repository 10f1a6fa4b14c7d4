"""Somebody with another service's address is told what to call here."""

import httpx
import pytest
from tests.support.gateway_world import gateway_world

OPENAI = "use the client's provider for OpenAI's API"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/show", "POST /api/embed and GET /api/tags are served of Ollama's API"),
        ("/api/pull", "models are added to the log, at sie-config"),
        ("/api/tag", "is it /api/tags?"),
        ("/v2/chat", "no operation here generates text"),
        ("/v1/files", "a gateway keeps no files"),
        ("/api/v0/models", OPENAI),
        ("/api/chat", "no operation here generates text"),
        ("/v1/chat/completions", "no operation here generates text"),
        ("/openai/deployments/dense/embeddings", OPENAI),
        ("/vectors", OPENAI),
        ("/tokenize", "the tokens of a text are not shown"),
        ("/tei/org/dense/tokenize", "the tokens of a text are not shown"),
        ("/tei/org/dense/decode", "the tokens of a text are not shown"),
        ("/v1/moderations", "POST /v1/extract/{model} and POST /classify tell"),
        ("/v1/reranking", "POST /v1/rerank ranks documents"),
        ("/v1/retrieval/ranker/reranking", "POST /v1/ranking ranks passages"),
        ("/voyage/v1/contextualizedembeddings", "POST /voyage/v1/embeddings and"),
        ("/v1/encode", "name the model in the path"),
        ("/v1/v1/embeddings", "is it /v1/embeddings?"),
        ("/v1/embeddings/", "is it /v1/embeddings?"),
        ("/v1/embedings", "is it /v1/embeddings?"),
        ("/", "GET /docs tells every route"),
        ("/wp-login.php", "GET /docs tells every route"),
    ],
)
async def test_a_path_that_is_not_here_says_what_lies_nearest(path: str, words: str) -> None:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            answer = await (http.get(path) if path == "/" else http.post(path, json={}))
    assert answer.status_code == 404
    told = answer.json()
    assert told["detail"]["code"] == "NOT_FOUND"
    # Ollama's clients show a sentence, and of an object no word.
    sentence = told["error"] if path.startswith("/api/") else told["error"]["message"]
    assert sentence == told["detail"]["message"]
    assert f"there is nothing at {path}: {words}" in sentence


async def test_a_client_of_ollama_is_shown_the_models_that_it_can_ask_and_no_others() -> None:
    async with gateway_world() as world:
        transport = httpx.ASGITransport(app=world.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            listed = (await http.get("/api/tags")).json()["models"]
            every = (await http.get("/v1/models")).json()["data"]
            release = (await http.get("/api/version")).json()["version"]
            version = (await http.get("/info")).headers["x-sie-version"]
            taken = set()
            for each in every:
                told = await http.get(f"/v1/models/{each['id']}")
                if "dense" in told.json()["outputs"]:
                    taken.add(each["id"])
    assert taken
    assert {each["name"] for each in listed} == taken < {each["id"] for each in every}
    assert all(each["model"] == each["name"] for each in listed)
    assert release == version
