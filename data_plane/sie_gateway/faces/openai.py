"""OpenAI's embeddings: `POST /v1/embeddings`.

*pure.* `input` is a text, token ids, or a list of either. The ids are of the gateway's vocabulary,
and where it has none, of the model's own tokenizer. `encoding_format` is `float` or `base64` (the
bytes of the numbers, little-endian). `dimensions` cuts each vector and normalises it, `user` is
ignored.
`options` is ours: `{"lora": …}` and what a backend takes. Errors have OpenAI's envelope beside our
own, with their codes in small letters. Infinity's clients send `modality` and, at their path,
`dimensions` 0 by default. Jina's fields are `task`, `normalized`, `truncate`, `late_chunking` and
`embedding_type`, which LlamaIndex calls `encoding_type`. Voyage's, Mistral's and NVIDIA's are
`input_type`, `truncation`, `output_dimension`, `output_dtype` and a `truncate` in words. Mistral's
client wants an `id`. vLLM's defaults are taken.
"""

from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    dense_vectors,
    encode_request,
    joined,
    only,
    unsupported,
    usage_of,
)
from sie_gateway.faces.numbers import DTYPES, NumberType, as_base64, as_type
from sie_gateway.faces.token_ids import Texts, inputs_of
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.errors import SIEError

__all__ = ["EMBEDDINGS", "INFINITY", "EmbeddingsBody", "error_body"]

_JinasType: TypeAlias = Literal["float", "base64", "binary", "ubinary"]


class EmbeddingsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """OpenAI's embeddings."""

    input: Texts
    model: str = ""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None
    modality: Literal["text"] | None = None
    task: str | None = None
    normalized: bool | None = None
    truncate: bool | Literal["NONE", "START", "END"] | None = None
    embedding_type: _JinasType | None = None
    encoding_type: _JinasType | None = None
    late_chunking: bool | None = None
    input_type: str | None = None
    truncation: bool | None = None
    output_dimension: int | None = None
    output_dtype: NumberType | None = None
    add_special_tokens: bool | None = None
    priority: int | None = None
    options: dict[str, Any] = {}


_TASKS: Final = {
    "query": True,
    "retrieval.query": True,
    "search_query": True,
    "document": False,
    "passage": False,
    "retrieval.passage": False,
    "search_document": False,
}
"""The words of those APIs for a text that is a query, or is not."""
_BODY: Final = msgspec.json.Decoder(EmbeddingsBody)
_JSON: Final = msgspec.json.Encoder()


def _read_infinity(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    return _read(body, limits, models, every=0)


def _read(body: bytes, limits: Limits, models: FaceModels, every: int | None = None) -> Translated:
    """`every` is the word for all numbers of a vector, where there is one."""
    request: EmbeddingsBody = decode_body(_BODY, body, form="JSON")
    model = models.encoder(request.model)
    # Jina's clients and vLLM's send these with what is so anyway.
    only(request.late_chunking, False, "$.late_chunking")
    only(request.add_special_tokens, True, "$.add_special_tokens")
    only(request.priority, 0, "$.priority")
    kind = _type_of(request)
    asked = encode_request(
        inputs_of(request.input, models.vocabulary, "$.input"),
        _options(request),
        limits,
        field="input",
        output_dtype=DTYPES[kind],
        dimensions=_width(request, every),
    )
    packed = "base64" in (request.encoding_format, request.embedding_type, request.encoding_type)
    return Translated(model, asked, lambda answer: _render(answer, kind, packed=packed))


def _type_of(request: EmbeddingsBody) -> NumberType:
    """The type of the numbers. Raises `FixRequest` where two fields name two."""
    found: NumberType | None = None
    for field in ("output_dtype", "embedding_type", "encoding_type"):
        said = getattr(request, field)
        # `base64` is a form and no type, and stands in the same field at Jina's.
        if said is not None and said != "base64":
            if found is not None:
                only(said, found, f"$.{field}")
            found = said
    return found or "float"


def _render(answer: Answer, kind: NumberType, *, packed: bool) -> bytes:
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": as_base64(vector) if packed else vector.tolist(),
        }
        for index, vector in enumerate(as_type(kind, each) for each in dense_vectors(answer))
    ]
    told = {"object": "list", "data": data, "model": answer.route.model_name}
    # Mistral's client refuses an answer without an id.
    return _JSON.encode({"id": answer.request_id, **told, "usage": usage_of(answer)})


def _width(request: EmbeddingsBody, every: int | None) -> int | None:
    """The numbers of a vector that are asked for; None for all."""
    if request.dimensions is None:
        return request.output_dimension
    only(request.output_dimension, request.dimensions, "$.output_dimension")
    return None if request.dimensions == every else request.dimensions


def _options(request: EmbeddingsBody) -> dict[str, Any]:
    """The options, with what those APIs say in fields of their own."""
    said = {
        "is_query": _side(request),
        # A model of tasks has others too; the worker refuses what this one has not.
        "task": None if request.task in _TASKS else request.task,
        "normalize": request.normalized,
        "truncate": _cut(request),
    }
    return joined(request.options, said)


def _side(request: EmbeddingsBody) -> bool | None:
    """True for a query, False for a passage; None where nothing says. Raises `FixRequest`."""
    task = _TASKS.get(request.task or "")
    if request.input_type is None:
        return task
    side = _TASKS.get(request.input_type)
    if side is None:
        known = ", ".join(sorted(_TASKS))
        raise unsupported("$.input_type", f"{request.input_type!r} is none of {known}")
    if task not in {None, side}:
        raise unsupported("$.input_type", f"{request.input_type!r} is not what `task` says")
    return side


def _cut(request: EmbeddingsBody) -> str | None:
    """The word for what becomes of a long text; None where nothing says. Raises `FixRequest`."""
    if isinstance(request.truncate, str):
        if request.truncation is False:
            only(request.truncate, "NONE", "$.truncate")
        return request.truncate.lower()
    return "none" if False in {request.truncate, request.truncation} else None


def error_body(error: SIEError) -> bytes:
    """An error in OpenAI's envelope, and beside it in our own shape."""
    # Its clients tell by the type whether to come back, to mend the request or to give up.
    if error.status == 429:
        kind = "rate_limit_error"
    else:
        kind = "invalid_request_error" if error.status < 500 else "server_error"
    param = error.field.removeprefix("$.") if error.field else None
    told = {"message": error.message, "type": kind, "param": param, "code": error.code.lower()}
    return _JSON.encode({"error": told, **error.to_wire()})


EMBEDDINGS: Final = Face("encode", _read, error_body, EmbeddingsBody)
INFINITY: Final = Face("encode", _read_infinity, error_body, EmbeddingsBody)
"""The same at Infinity's path."""
