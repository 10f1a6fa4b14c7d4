"""Cohere's embed: `POST /v1/embed` and `POST /v2/embed`.

*pure.* `search_query` is encoded as a query and everything else as a document, by the model's own
prompts. `embedding_types` names one type, in which the worker gives the vectors, or several, which
are made of the vectors in float32. A text that is too long is cut at its end, which is that API's
default. `options` is ours.
"""

from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct
from numpy.typing import NDArray

from sie_gateway.faces.cohere import error_body, meta_of
from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    dense_vectors,
    encode_request,
    joined,
    only,
    unsupported,
)
from sie_gateway.faces.numbers import DTYPES, NumberType, as_base64, as_type
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.arrays import in_dtype
from sie_schemas.errors import FixRequest

__all__ = ["EMBED_V1", "EMBED_V2"]

_InputType: TypeAlias = Literal["search_document", "search_query", "classification", "clustering"]
_EmbeddingType: TypeAlias = Literal[NumberType, "base64"]


class _Content(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


class _Input(Struct, frozen=True, forbid_unknown_fields=True):
    content: list[_Content]


class CohereEmbedBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Cohere's embed, version 1 and 2."""

    model: str = ""
    texts: list[str] | None = None
    inputs: list[_Input] | None = None
    images: list[str] | None = None
    input_type: _InputType | None = None
    embedding_types: list[_EmbeddingType] | None = None
    output_dimension: int | None = None
    max_tokens: int | None = None
    truncate: Literal["NONE", "START", "END"] | None = None
    priority: int | None = None
    options: dict[str, Any] = {}


_BODY: Final = msgspec.json.Decoder(CohereEmbedBody)
_JSON: Final = msgspec.json.Encoder()


def _read_v1(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    return _read("1", body, limits, models)


def _read_v2(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    return _read("2", body, limits, models)


def _read(
    version: Literal["1", "2"], body: bytes, limits: Limits, models: FaceModels
) -> Translated:
    request: CohereEmbedBody = decode_body(_BODY, body, form="JSON")
    model = models.encoder(request.model)
    only(request.priority, 0, "$.priority")
    only(request.max_tokens, None, "$.max_tokens")
    if request.images:
        raise unsupported("$.images", "this API embeds texts")
    kinds = _kinds_of(request)
    said = {
        "truncate": None if request.truncate is None else request.truncate.lower(),
        "is_query": None if request.input_type is None else request.input_type == "search_query",
    }
    texts, field = _texts_of(request)
    asked = encode_request(
        texts,
        joined(request.options, said),
        limits,
        field=field,
        # Several types are made of one answer, which has to be the finest.
        output_dtype=DTYPES[_type_of(kinds[0])] if len(kinds) == 1 else "float32",
        dimensions=request.output_dimension,
    )

    def render(answer: Answer) -> bytes:
        return _render(version, answer, request, texts)

    return Translated(model, asked, render)


def _kinds_of(request: CohereEmbedBody) -> list[_EmbeddingType]:
    """The types that are asked for, each once."""
    return list(dict.fromkeys(request.embedding_types or ["float"]))


def _texts_of(request: CohereEmbedBody) -> tuple[list[str], str]:
    """The texts, and the field in which the client gave them."""
    if (request.texts is None) == (request.inputs is None):
        raise FixRequest("$.texts: give either `texts` or `inputs`", field="$.texts")
    if request.texts is not None:
        return request.texts, "texts"
    inputs = request.inputs or []
    for index, one in enumerate(inputs):
        if len(one.content) != 1:
            where = f"$.inputs[{index}].content"
            raise FixRequest(f"{where}: one text is wanted", field=where)
    return [one.content[0].text for one in inputs], "inputs"


def _render(
    version: Literal["1", "2"], answer: Answer, request: CohereEmbedBody, texts: list[str]
) -> bytes:
    kinds, vectors = _kinds_of(request), dense_vectors(answer)
    told_in = {
        kind: [
            _told(kind, vector if len(kinds) == 1 else in_dtype(vector, DTYPES[_type_of(kind)]))
            for vector in vectors
        ]
        for kind in kinds
    }
    # Version 1 gives a bare list of vectors where the request names no type. Its clients tell the
    # two forms apart by `response_type`.
    by_type = version == "2" or request.embedding_types is not None
    told: dict[str, Any] = {
        "id": answer.request_id,
        "texts": texts,
        "embeddings": told_in if by_type else told_in["float"],
        "meta": meta_of(answer, version, {"input_tokens": answer.input_tokens}),
        "model": answer.route.model_name,
    }
    if version == "1":
        told["response_type"] = "embeddings_by_type" if by_type else "embeddings_floats"
    return _JSON.encode(told)


def _type_of(kind: _EmbeddingType) -> NumberType:
    return "float" if kind == "base64" else kind


def _told(kind: _EmbeddingType, vector: NDArray[Any]) -> Any:
    return as_base64(vector) if kind == "base64" else as_type(kind, vector).tolist()


EMBED_V1: Final = Face("encode", _read_v1, error_body, CohereEmbedBody)
EMBED_V2: Final = Face("encode", _read_v2, error_body, CohereEmbedBody)
