"""The nearest to a path that is not here: another API's name for what is served, or a slip.

*pure.* Somebody who came with the address of another service reads what to call in its place. The
words are for people; the code of the refusal is the same for all.
"""

from typing import Final

from sie_gateway.faces import FACES
from sie_runtime.http.near_paths import path_advice

__all__ = ["nearest"]

_GENERATES: Final = (
    "no operation here generates text: POST /v1/embeddings, /v1/rerank and "
    "/v1/extract/{model} are served"
)
_AS_OPENAI: Final = (
    "use the client's provider for OpenAI's API, with the base URL GATEWAY/v1: "
    "POST /v1/embeddings, GET /v1/models"
)
_TOKENS: Final = (
    "the tokens of a text are not shown; an answer's usage counts them, and POST /v1/embeddings "
    "takes token ids"
)
_OLLAMAS: Final = (
    "POST /api/embed and GET /api/tags are served of Ollama's API; GET /v1/models/{model} tells "
    "of a model"
)
_CHANGES: Final = "models are added to the log, at sie-config: `sie add` and `sie delete model`"
_KEEPS: Final = "a gateway keeps no files and runs no batches: POST /v1/embeddings takes many texts"
_RANKS: Final = "POST /v1/rerank ranks documents, and POST /v1/score/{model} items"
_ELSEWHERE: Final = (
    (("/api/show", "/api/ps"), _OLLAMAS),
    (("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete"), _CHANGES),
    (("/api/v0",), _AS_OPENAI),
    (("/api/generate", "/api/chat"), _GENERATES),
    (("/v1/chat", "/v1/completions", "/v1/responses", "/v1/generate"), _GENERATES),
    (
        ("/v1/messages", "/v2/chat", "/v2/generate", "/chat/", "/completions", "/generate"),
        _GENERATES,
    ),
    (("/openai/deployments/", "/v1beta/", "/v1/projects/"), _AS_OPENAI),
    (("/vectors", "/meta", "/.well-known/"), _AS_OPENAI),
    (("/embedding", "/pooling", "/pipeline/"), _AS_OPENAI),
    (("/tokenize", "/detokenize", "/decode", "/v1/tokenize", "/v1/detokenize"), _TOKENS),
    (("/score/", "/v1/reranking", "/reranking"), _RANKS),
    (
        ("/v1/retrieval/", "/v1/nvidia/", "/ranking"),
        "POST /v1/ranking ranks passages in NVIDIA's form",
    ),
    (("/voyage/",), "POST /voyage/v1/embeddings and /voyage/v1/rerank are served of Voyage's API"),
    (("/v1/encode", "/v1/extract"), "name the model in the path: POST /v1/encode/{model}"),
    (
        ("/v1/classify", "/v1/classifications", "/v1/moderations"),
        "POST /v1/extract/{model} and POST /classify tell the classes of a text",
    ),
    (("/v1/audio", "/v1/images"), _GENERATES),
    (("/v1/files", "/v1/batches"), _KEEPS),
    (("/livez", "/ping", "/health"), "GET /healthz says that it lives, /readyz that it serves"),
)
"""Beginnings of paths of other services, and what is here for those who want them."""
_KNOWN: Final = (
    *(path for path in FACES if path != "/"),
    *("/v1/models", "/v1/pools", "/health", "/healthz", "/readyz", "/metrics", "/docs", "/info"),
    *("/api/tags", "/api/version"),
)


def nearest(path: str) -> str:
    """The words for somebody who asked for this path."""
    tidy = path.rstrip("/")
    # A base URL with the version, and a client that puts it before its paths as well.
    while "/v1/v1" in tidy:
        tidy = tidy.replace("/v1/v1", "/v1")
    if tidy not in _KNOWN:
        ending = next((end for end in ("/tokenize", "/decode") if tidy.endswith(end)), tidy)
        for beginnings, words in _ELSEWHERE:
            if ending.startswith(beginnings):
                return words
    return path_advice(tidy, _KNOWN)
