"""Cohere's rerank, which Jina, vLLM and Infinity speak too: `POST /v1/rerank` and `/v2/rerank`.

*pure.* A document is a text, or an object of which `rank_fields` (`text`, where none are named) are
read. `top_n` cuts the answer, and `return_documents` gives the documents back as they came. A
document is read as far as the model reads, so the fields that cut it may only be that API's
defaults. So may those that Xinference's client always sends. `options` is ours. Errors have our own
shape, whose `message` is also where Cohere has it.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    only,
    ranking,
    rerank_request,
    usage_of,
)
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.errors import FixRequest, SIEError

__all__ = ["RERANK_V1", "RERANK_V2", "Document", "error_body", "meta_of", "texts_of"]

Document: TypeAlias = str | dict[str, Any]
_TOKENS_PER_DOC: Final = 4096
"""Cohere's default, which a client may send; models here cut at their own length."""
_CHUNKS_PER_DOC: Final = 10
"""Cohere's default of its first version, likewise."""
_DOCUMENTS_PER_UNIT: Final = 100
"""Cohere counts a search unit for each so many documents that are begun."""


class CohereRerankBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cohere's rerank, version 1 and 2."""

    model: str = ""
    query: str
    documents: list[Document]
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    rank_fields: list[str] | None = None
    max_chunks_per_doc: int | None = None
    max_tokens_per_doc: int | None = None
    priority: int | None = None
    return_len: bool | None = None
    kwargs: str | None = None
    options: dict[str, Any] = {}


_BODY: Final = msgspec.json.Decoder(CohereRerankBody)
_JSON: Final = msgspec.json.Encoder()


def _read(
    version: Literal["1", "2"], body: bytes, limits: Limits, models: FaceModels
) -> Translated:
    request: CohereRerankBody = decode_body(_BODY, body, form="JSON")
    model = models.ranker(request.model)
    only(request.max_tokens_per_doc, _TOKENS_PER_DOC, "$.max_tokens_per_doc")
    only(request.max_chunks_per_doc, _CHUNKS_PER_DOC, "$.max_chunks_per_doc")
    only(request.priority, 0, "$.priority")
    # These two are of Xinference's client, which always sends them.
    only(request.return_len, False, "$.return_len")
    only(request.kwargs, "{}", "$.kwargs")
    texts = texts_of(request.documents, request.rank_fields)
    asked = rerank_request(request.query, texts, request.options, limits, field="documents")
    return Translated(model, asked, lambda answer: _render(version, answer, request))


def _read_v1(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    return _read("1", body, limits, models)


def _read_v2(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    return _read("2", body, limits, models)


def texts_of(documents: list[Document], fields: list[str] | None) -> list[str]:
    """The text of each document that is read. Raises `FixRequest`, which names what is missing."""
    return [
        document if isinstance(document, str) else _text_of(document, fields or ["text"], index)
        for index, document in enumerate(documents)
    ]


def _text_of(document: dict[str, Any], fields: list[str], index: int) -> str:
    read: list[str] = []
    for name in fields:
        # Together's own service reads all fields where none is named. Here that is refused: which
        # of them are ranked decides the answer.
        value = document.get(name)
        if value is None:
            where = f"$.documents[{index}].{name}"
            raise FixRequest(
                f"{where}: the document has no such field to be ranked by; name its fields in "
                "`rank_fields`",
                field=where,
            )
        read.append(value if isinstance(value, str) else _JSON.encode(value).decode())
    if len(read) == 1:
        return read[0]
    return "\n".join(f"{name}: {value}" for name, value in zip(fields, read, strict=True))


def _render(version: str, answer: Answer, request: CohereRerankBody) -> bytes:
    results: list[dict[str, Any]] = []
    for entry in ranking(answer)[: request.top_n]:
        result: dict[str, Any] = {"index": entry.index, "relevance_score": entry.score}
        # Only where it is asked for, as at Cohere's. Jina's own service does it unasked.
        if request.return_documents:
            # A text comes back as an object, as Jina and vLLM have it.
            document = request.documents[entry.index]
            result["document"] = {"text": document} if isinstance(document, str) else document
        results.append(result)
    units = -(-len(request.documents) // _DOCUMENTS_PER_UNIT)
    return _JSON.encode(
        {
            "id": answer.request_id,
            "model": answer.route.model_name,
            "results": results,
            "meta": meta_of(answer, version, {"search_units": units}),
            "usage": usage_of(answer),
        }
    )


def meta_of(answer: Answer, version: str, units: dict[str, int]) -> dict[str, Any]:
    """Cohere's `meta`: its own count of what was asked for, and the tokens that were read."""
    return {
        "api_version": {"version": version},
        "billed_units": units,
        "tokens": {"input_tokens": answer.input_tokens},
    }


def error_body(error: SIEError) -> bytes:
    """An error in our shape, with the message where Cohere has it."""
    return _JSON.encode({"message": error.message, **error.to_wire()})


RERANK_V1: Final = Face("score", _read_v1, error_body, CohereRerankBody)
RERANK_V2: Final = Face("score", _read_v2, error_body, CohereRerankBody)
