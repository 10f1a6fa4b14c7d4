"""Cohere's rerank: `POST /v1/rerank` and `POST /v2/rerank`.

*pure.* `documents` are texts, `top_n` cuts the answer, and version 1 gives the documents back with
`return_documents`. `options` is ours. An unknown field is refused. Errors have our own shape, whose
`message` is also where Cohere has it.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from sie_gateway.faces.face import Face, FaceModels, Translated, ranking, rerank_request
from sie_gateway.request.requests import Decoder, Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.errors import SIEError

__all__ = ["RERANK_V1", "RERANK_V2"]


class RerankV2Body(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cohere's rerank, version 2."""

    model: str
    query: str
    documents: list[str]
    top_n: Annotated[int, Meta(ge=1)] | None = None
    options: dict[str, Any] = {}


class RerankV1Body(RerankV2Body, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cohere's rerank, version 1."""

    return_documents: bool = False


_V1: Final = msgspec.json.Decoder(RerankV1Body)
_V2: Final = msgspec.json.Decoder(RerankV2Body)
_JSON: Final = msgspec.json.Encoder()


def _read_v1(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    return _read(_V1, body, limits)


def _read_v2(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    return _read(_V2, body, limits)


def _read(decoder: Decoder, body: bytes, limits: Limits) -> Translated:
    request: RerankV2Body = decode_body(decoder, body, form="JSON")
    asked = rerank_request(
        request.query, request.documents, request.options, limits, field="documents"
    )
    return Translated(request.model, asked, lambda answer: _render(answer, request))


def _render(answer: Answer, request: RerankV2Body) -> bytes:
    with_documents = isinstance(request, RerankV1Body) and request.return_documents
    results: list[dict[str, Any]] = []
    for entry in ranking(answer)[: request.top_n]:
        result: dict[str, Any] = {"index": entry.index, "relevance_score": entry.score}
        if with_documents:
            result["document"] = {"text": request.documents[entry.index]}
        results.append(result)
    usage = {"input_tokens": answer.input_tokens}
    return _JSON.encode({"model": answer.route.model_name, "results": results, "usage": usage})


def _error(error: SIEError) -> bytes:
    return _JSON.encode({"message": error.message, **error.to_wire()})


RERANK_V1: Final = Face("score", _read_v1, _error, RerankV1Body)
RERANK_V2: Final = Face("score", _read_v2, _error, RerankV2Body)
