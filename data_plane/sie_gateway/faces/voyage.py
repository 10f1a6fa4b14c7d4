"""Voyage's API, under a base URL of its own: `/voyage/v1/embeddings` and `/voyage/v1/rerank`.

*pure.* Its bodies are those of OpenAI and Cohere but for a few fields. Its rankings and errors are
not: a ranking stands under `data`, and an error's `detail` is the sentence. So no path can speak
for both. A text that is too long is cut unless `truncation` is false. `options` is ours.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    joined,
    ranking,
    rerank_request,
    usage_of,
)
from sie_gateway.faces.openai import EMBEDDINGS
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.errors import SIEError

__all__ = ["VOYAGE_EMBEDDINGS", "VOYAGE_RERANK"]


class VoyageRerankBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ranking of documents, as Voyage has it."""

    query: str
    documents: list[str]
    model: str = ""
    top_k: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    truncation: bool | None = None
    options: dict[str, Any] = {}


_BODY: Final = msgspec.json.Decoder(VoyageRerankBody)
_JSON: Final = msgspec.json.Encoder()


def _read(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: VoyageRerankBody = decode_body(_BODY, body, form="JSON")
    options = joined(request.options, {"truncate": "none" if request.truncation is False else None})
    asked = rerank_request(request.query, request.documents, options, limits, field="documents")
    model = models.ranker(request.model)
    return Translated(model, asked, lambda answer: _render(answer, request))


def _render(answer: Answer, request: VoyageRerankBody) -> bytes:
    data: list[dict[str, Any]] = []
    for each in ranking(answer)[: request.top_k]:
        document = {"document": request.documents[each.index]} if request.return_documents else {}
        data.append({"index": each.index, "relevance_score": each.score, **document})
    told = {"object": "list", "data": data, "model": answer.route.model_name}
    return _JSON.encode({**told, "usage": usage_of(answer)})


def _error(error: SIEError) -> bytes:
    # Its Python client shows `detail`, and fails itself on one that is no text, as ours would be.
    told = {"detail": error.message, "code": error.code}
    return _JSON.encode(told if error.field is None else {**told, "field": error.field})


VOYAGE_EMBEDDINGS: Final = Face("encode", EMBEDDINGS.read, _error, EMBEDDINGS.body)
VOYAGE_RERANK: Final = Face("score", _read, _error, VoyageRerankBody)
