"""Text Embeddings Inference's routes: `POST /embed` and `POST /rerank`.

*pure.* That API serves one model and its requests name none: the model is the field `model` where
a request has it, else the gateway's setting. Texts that are too long are always cut, so `truncate`
may not be false; vectors are as the model's profile gives them, so `normalize` may not be false.
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
    ranking,
    rerank_request,
    unsupported,
)
from sie_gateway.request.requests import Asked, Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.errors import FixRequest, Later, SIEError, TimeRanOut

__all__ = ["EMBED", "RERANK"]


class TeiEmbedBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Embeddings as Text Embeddings Inference has them."""

    inputs: str | list[str]
    model: str = ""
    normalize: bool = True
    truncate: bool = True
    dimensions: int | None = None
    options: dict[str, Any] = {}


class TeiRerankBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ranking as Text Embeddings Inference has it."""

    query: str
    texts: list[str]
    model: str = ""
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool = True
    options: dict[str, Any] = {}


_EMBED_BODY: Final = msgspec.json.Decoder(TeiEmbedBody)
_RERANK_BODY: Final = msgspec.json.Decoder(TeiRerankBody)
_JSON: Final = msgspec.json.Encoder()


def _read_embed(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiEmbedBody = decode_body(_EMBED_BODY, body, form="JSON")
    _check_truncate(request.truncate)
    if not request.normalize:
        raise unsupported("$.normalize", "vectors are as the model's profile gives them")
    asked = encode_request(
        request.inputs, request.options, limits, field="inputs", dimensions=request.dimensions
    )
    return Translated(_model(request.model, models.embed), asked, _render_embed)


def _render_embed(answer: Answer) -> bytes:
    return _JSON.encode([vector.tolist() for vector in dense_vectors(answer)])


def _read_rerank(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiRerankBody = decode_body(_RERANK_BODY, body, form="JSON")
    _check_truncate(request.truncate)
    asked = rerank_request(request.query, request.texts, request.options, limits, field="texts")

    def render(answer: Answer) -> bytes:
        return _render_rerank(answer, request, asked)

    return Translated(_model(request.model, models.rerank), asked, render)


def _render_rerank(answer: Answer, request: TeiRerankBody, asked: Asked) -> bytes:
    told: list[dict[str, Any]] = []
    for entry in ranking(answer):
        score = entry.logit if request.raw_scores else entry.score
        text = {"text": asked.items[entry.index].text} if request.return_text else {}
        told.append({"index": entry.index, "score": score, **text})
    return _JSON.encode(told)


def _check_truncate(truncate: bool) -> None:
    if not truncate:
        raise unsupported("$.truncate", "texts are cut at the model's maximum; leave it out")


def _model(named: str, default: str) -> str:
    if not named and not default:
        raise FixRequest(
            "$.model: name a model; this gateway was given none for requests that do not "
            "(SIE_GATEWAY_TEI_EMBED_MODEL, SIE_GATEWAY_TEI_RERANK_MODEL)",
            field="$.model",
        )
    return named or default


def _error(error: SIEError) -> bytes:
    match error:
        case FixRequest():
            kind = "Validation"
        case Later() | TimeRanOut():
            kind = "Overloaded"
        case _:
            kind = "Backend"
    return _JSON.encode({"error": error.message, "error_type": kind, **error.to_wire()})


EMBED: Final = Face("encode", _read_embed, _error, TeiEmbedBody)
RERANK: Final = Face("score", _read_rerank, _error, TeiRerankBody)
