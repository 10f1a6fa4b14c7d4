"""Ollama's embeddings: `POST /api/embed`, and `/api/embeddings` of its older clients.

*pure.* `/api/embed` gives vectors of length 1, as that API does; the older route those of the
model. A text that is too long is cut unless `truncate` is false. `keep_alive` is taken and changes
nothing: how long a model stays is the worker's to say. `options` is ours, and Ollama's own are
refused by name. Durations are nanoseconds at the worker; `load_duration` is the wait before the
model ran. Errors are a sentence under `error`, beside our own shape.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    dense_vectors,
    encode_request,
    joined,
    of_length_1,
)
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.errors import SIEError

__all__ = ["EMBED", "EMBEDDINGS"]


class _Body(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str = ""
    keep_alive: str | int | float | None = None
    options: dict[str, Any] = {}


class OllamaEmbedBody(_Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Vectors of texts, as Ollama has them."""

    input: str | list[str]
    truncate: bool | None = None
    dimensions: int | None = None


class OllamaEmbeddingsBody(_Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The vector of one text, as Ollama's older clients have it."""

    prompt: str


_EMBED_BODY: Final = msgspec.json.Decoder(OllamaEmbedBody)
_EMBEDDINGS_BODY: Final = msgspec.json.Decoder(OllamaEmbeddingsBody)
_JSON: Final = msgspec.json.Encoder()
_NS_PER_MS: Final = 1_000_000
"""Ollama counts nanoseconds, an answer milliseconds."""


def _read_embed(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: OllamaEmbedBody = decode_body(_EMBED_BODY, body, form="JSON")
    options = joined(_said(request), {"truncate": "none" if request.truncate is False else None})
    asked = encode_request(
        request.input, options, limits, field="input", dimensions=request.dimensions
    )
    return Translated(models.encoder(request.model), asked, _render_embed)


def _render_embed(answer: Answer) -> bytes:
    waited, ran = answer.queue_ms, answer.tokenization_ms + answer.inference_ms
    return _JSON.encode(
        {
            "model": answer.route.model_name,
            "embeddings": [of_length_1(vector).tolist() for vector in dense_vectors(answer)],
            "total_duration": round(_NS_PER_MS * (waited + ran)),
            "load_duration": round(_NS_PER_MS * waited),
            "prompt_eval_count": answer.input_tokens,
        }
    )


def _read_embeddings(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: OllamaEmbeddingsBody = decode_body(_EMBEDDINGS_BODY, body, form="JSON")
    asked = encode_request(request.prompt, _said(request), limits, field="prompt")
    return Translated(models.encoder(request.model), asked, _render_embeddings)


def _render_embeddings(answer: Answer) -> bytes:
    [vector] = dense_vectors(answer)
    return _JSON.encode({"embedding": vector.tolist()})


def _said(request: _Body) -> dict[str, Any]:
    # LangChain's client sends every option of that API, each as null.
    return {name: value for name, value in request.options.items() if value is not None}


def _error(error: SIEError) -> bytes:
    return _JSON.encode({"error": error.message, **error.to_wire()})


EMBED: Final = Face("encode", _read_embed, _error, OllamaEmbedBody)
EMBEDDINGS: Final = Face("encode", _read_embeddings, _error, OllamaEmbeddingsBody)
