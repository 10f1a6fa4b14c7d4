"""Text Embeddings Inference's routes, at the root and for each model below `/tei/{model}`.

*pure.* That API serves one model and its requests name none. The model is the one of the path, or
the field `model` where a request has it, else the gateway's setting. Texts that are too long are
cut on the side that the model cuts, unless `truncation_direction` says otherwise. With a `truncate`
that is false such a text is refused (413). Vectors have length 1 there, whatever the model's own
have, unless `normalize` is false. `prompt_name` is a word for a query or for a document. `/predict`
tells the classes that a model gives to a text; two strings are a pair there, and refused. `/rerank`
with `documents` is the API of Jina, Cohere and Infinity, whose paths these are too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from sie_gateway.faces.cohere import Document, texts_of
from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    answered_items,
    classes_of,
    dense_vectors,
    encode_request,
    extract_request,
    joined,
    of_length_1,
    only,
    ranking,
    rerank_request,
    unsupported,
    usage_of,
)
from sie_gateway.faces.hub import read_hub
from sie_gateway.faces.token_ids import Texts, inputs_of
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer
from sie_schemas.errors import FixRequest, Later, SIEError, TimeRanOut
from sie_schemas.items import OutputType
from sie_schemas.malformed import MALFORMED

__all__ = ["ANY", "EMBED", "EMBED_ALL", "EMBED_SPARSE", "PREDICT", "RERANK", "SIMILARITY"]

_QUERIES: Final = frozenset({"query", "search_query"})
_DOCUMENTS: Final = frozenset({"document", "passage", "search_document"})
_CUTS: Final = {"left": "start", "right": "end"}
_HINTS: Final = frozenset({"wait_for_model", "use_cache"})
"""Options of the hub's own API, which its older clients always send. They change no answer: what a
client does while nothing is ready is its own affair, and nothing is answered from a cache."""
_STATUSES: Final = {"INPUT_TOO_LONG": 413}
"""The status of that API, where it is another one than ours."""


class _TeiBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str = ""
    truncate: bool | None = None
    truncation_direction: Literal["Left", "Right", "left", "right"] | None = None
    options: dict[str, Any] = {}


class TeiEmbedBody(_TeiBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Embeddings as Text Embeddings Inference has them: one vector for each input."""

    inputs: Texts
    normalize: bool = True
    prompt_name: str | None = None
    dimensions: int | None = None


class TeiTokensBody(_TeiBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Weights of words: `/embed_sparse`."""

    inputs: Texts
    prompt_name: str | None = None


class TeiAllBody(TeiTokensBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Vectors of tokens: `/embed_all`. With `normalize` each has length 1."""

    normalize: bool = False


class TeiRerankBody(_TeiBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ranking of `texts` as Text Embeddings Inference has it, or of `documents` as Jina and
    Infinity have it."""

    query: str
    texts: list[str] | None = None
    documents: list[Document] | None = None
    raw_scores: bool | None = None
    return_text: bool | None = None
    return_documents: bool | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None


class TeiPredictBody(_TeiBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The classes of a text, or of a list in which each text is a list of its own."""

    inputs: str | list[str | list[str]]
    raw_scores: bool | None = None


class _Sentences(Struct, frozen=True, forbid_unknown_fields=True):
    source_sentence: str
    sentences: list[str]


class TeiSimilarityBody(_TeiBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The likeness of a sentence to others, as the cosine of their vectors."""

    inputs: _Sentences
    parameters: dict[str, Any] | None = None


_EMBED_BODY: Final = msgspec.json.Decoder(TeiEmbedBody)
_TOKENS_BODY: Final = msgspec.json.Decoder(TeiTokensBody)
_ALL_BODY: Final = msgspec.json.Decoder(TeiAllBody)
_RERANK_BODY: Final = msgspec.json.Decoder(TeiRerankBody)
_PREDICT_BODY: Final = msgspec.json.Decoder(TeiPredictBody)
_SIMILARITY_BODY: Final = msgspec.json.Decoder(TeiSimilarityBody)
_NAMES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_JSON: Final = msgspec.json.Encoder()


class _Empty(FixRequest):
    """The request has no text at all, for which that API has a word of its own."""


def _require_some(given: str | Sequence[Any], field: str) -> None:
    # An empty text is a text, and gets what the model's library gives; only none at all is refused.
    if isinstance(given, list) and not given:
        raise _Empty(f"{field} is empty: at least one text is wanted", field=field)


def _read_embed(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiEmbedBody = decode_body(_EMBED_BODY, body, form="JSON")
    _require_some(request.inputs, "$.inputs")
    options = _options(request, request.prompt_name, normalize=None if request.normalize else False)
    asked = encode_request(
        inputs_of(request.inputs, models.vocabulary, "$.inputs"),
        options,
        limits,
        field="inputs",
        dimensions=request.dimensions,
    )
    # A route of another API has that API's default: its clients leave `normalize` out, and take a
    # dot product for a cosine.
    unit = options.get("normalize") is not False
    return Translated(
        models.encoder(request.model), asked, lambda answer: _render_embed(answer, unit)
    )


def _render_embed(answer: Answer, unit: bool) -> bytes:
    vectors = dense_vectors(answer)
    return _JSON.encode([(of_length_1(vector) if unit else vector).tolist() for vector in vectors])


def _read_embed_all(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiAllBody = decode_body(_ALL_BODY, body, form="JSON")

    def render(answer: Answer) -> bytes:
        rows = [item["multivector"]["values"] for item in answered_items(answer)]
        return _JSON.encode([(_units(row) if request.normalize else row).tolist() for row in rows])

    return _read_tokens(request, limits, models, "multivector", render)


def _read_embed_sparse(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiTokensBody = decode_body(_TOKENS_BODY, body, form="JSON")
    return _read_tokens(request, limits, models, "sparse", _render_sparse)


def _read_tokens(
    request: TeiTokensBody,
    limits: Limits,
    models: FaceModels,
    output: OutputType,
    render: Callable[[Answer], bytes],
) -> Translated:
    _require_some(request.inputs, "$.inputs")
    options = _options(request, request.prompt_name)
    inputs = inputs_of(request.inputs, models.vocabulary, "$.inputs")
    asked = encode_request(inputs, options, limits, field="inputs", output=output)
    return Translated(models.encoder(request.model), asked, render)


def _render_sparse(answer: Answer) -> bytes:
    rows = [item["sparse"] for item in answered_items(answer)]
    told = [
        [
            {"index": index, "value": value}
            for index, value in zip(row["indices"].tolist(), row["values"].tolist(), strict=True)
        ]
        for row in rows
    ]
    return _JSON.encode(told)


def _read_rerank(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiRerankBody = decode_body(_RERANK_BODY, body, form="JSON")
    if (request.texts is None) == (request.documents is None):
        raise FixRequest("$.texts: give either `texts` or `documents`", field="$.texts")
    options = _options(request)
    if request.texts is not None:
        texts, field, render = request.texts, "texts", _render_texts
    else:
        texts = texts_of(request.documents or [], None)
        field, render = "documents", _render_documents
    _require_some(texts, f"$.{field}")
    asked = rerank_request(request.query, texts, options, limits, field=field)
    return Translated(
        models.ranker(request.model), asked, lambda answer: render(answer, request, texts)
    )


def _render_texts(answer: Answer, request: TeiRerankBody, texts: list[str]) -> bytes:
    told: list[dict[str, Any]] = []
    for index, score in _scores(answer, request):
        text = {"text": texts[index]} if request.return_text else {}
        told.append({"index": index, "score": score, **text})
    return _JSON.encode(told)


def _render_documents(answer: Answer, request: TeiRerankBody, texts: list[str]) -> bytes:
    results: list[dict[str, Any]] = []
    for index, score in _scores(answer, request):
        document = {"document": {"text": texts[index]}} if request.return_documents else {}
        results.append({"index": index, "relevance_score": score, **document})
    return _JSON.encode(
        {
            "object": "rerank",
            "id": answer.request_id,
            "model": answer.route.model_name,
            "results": results,
            "usage": usage_of(answer),
        }
    )


def _scores(answer: Answer, request: TeiRerankBody) -> list[tuple[int, float]]:
    """Places in the request and scores, the best first."""
    return [
        (entry.index, entry.logit if request.raw_scores else entry.score)
        for entry in ranking(answer)[: request.top_n]
    ]


def _read_predict(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiPredictBody = decode_body(_PREDICT_BODY, body, form="JSON")
    _require_some(request.inputs, "$.inputs")
    options = _options(request, activation="none" if request.raw_scores else None)
    texts, is_single = _classified(request.inputs)
    asked = extract_request(texts, options, limits, field="inputs")

    def render(answer: Answer) -> bytes:
        classes = classes_of(answer)
        return _JSON.encode(classes[0] if is_single else classes)

    return Translated(models.encoder(request.model), asked, render)


def _classified(inputs: str | list[str | list[str]]) -> tuple[str | list[str], bool]:
    """The texts, and whether it is one alone. Raises `FixRequest` for a pair."""
    if isinstance(inputs, str):
        return inputs, True
    if len(inputs) == 1 and isinstance(inputs[0], str):
        return inputs[0], True
    texts: list[str] = []
    for index, one in enumerate(inputs):
        # Answered as two texts, as it once was, a pair gets two results that look right.
        if isinstance(one, str) or len(one) != 1:
            where = "$.inputs" if isinstance(one, str) else f"$.inputs[{index}]"
            raise unsupported(
                where,
                'several strings are a pair, and these models read one: [["a"], ["b"]] is two',
            )
        texts.append(one[0])
    return texts, False


def _read_similarity(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: TeiSimilarityBody = decode_body(_SIMILARITY_BODY, body, form="JSON")
    only(request.parameters or None, None, "$.parameters")
    _require_some(request.inputs.sentences, "$.inputs.sentences")
    texts = [request.inputs.source_sentence, *request.inputs.sentences]
    asked = encode_request(texts, _options(request), limits, field="inputs.sentences")
    return Translated(models.encoder(request.model), asked, _render_similarity)


def _render_similarity(answer: Answer) -> bytes:
    source, *others = map(of_length_1, dense_vectors(answer))
    return _JSON.encode([float(np.dot(source, other)) for other in others])


def _units(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def _read_any(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    """That API has one path for all that a model does. The fields of the body say which it is, and
    the model itself whether it has vectors or classes."""
    try:
        names = _NAMES.decode(body)
    except MALFORMED:
        # Whoever reads it next says what is wrong with it, in that API's shape.
        names = {}
    if "texts" in names or "documents" in names:
        return _read_rerank(body, limits, models)
    if bytes(names.get("inputs", b"")).startswith(b"{"):
        return _read_similarity(body, limits, models)
    # A classifier and an encoder get the same body here: what the model is for decides.
    named = models.path or _named(names) or models.embed
    tasks = models.tasks(named) if named else ()
    if "extract" in tasks and "encode" not in tasks:
        # The clients of the hub's own API always send parameters, and read another answer.
        read = read_hub if "parameters" in names else _read_predict
        return read(body, limits, models)
    return _read_embed(body, limits, models)


def _named(names: Mapping[str, msgspec.Raw]) -> str:
    """The model that a body names; empty where it names none, or no text."""
    try:
        return msgspec.json.decode(names["model"], type=str)
    except (KeyError, *MALFORMED):
        return ""


def _options(request: _TeiBody, prompt_name: str | None = None, **said: Any) -> dict[str, Any]:
    ours = {name: told for name, told in request.options.items() if name not in _HINTS}
    return joined(ours, {"truncate": _cut(request), "is_query": _side(prompt_name), **said})


def _cut(request: _TeiBody) -> str | None:
    """The word for what becomes of a long text; None where nothing says."""
    if request.truncate is False:
        return "none"
    told = request.truncation_direction
    return None if told is None else _CUTS[told.lower()]


def _side(prompt_name: str | None) -> bool | None:
    """True for a query, False for a passage; None where nothing says. Raises `FixRequest`."""
    if prompt_name is not None and prompt_name not in _QUERIES | _DOCUMENTS:
        known = ", ".join(sorted(_QUERIES | _DOCUMENTS))
        raise unsupported("$.prompt_name", f"{prompt_name!r} is none of {known}")
    return None if prompt_name is None else prompt_name in _QUERIES


def _error(error: SIEError) -> bytes:
    # The word tells that API's clients who can mend it.
    match error:
        case _Empty():
            kind = "Empty"
        case FixRequest():
            kind = "Validation"
        case Later() | TimeRanOut():
            kind = "Overloaded"
        case _:
            kind = "Backend"
    return _JSON.encode({"error": error.message, "error_type": kind, **error.to_wire()})


EMBED: Final = Face("encode", _read_embed, _error, TeiEmbedBody, _STATUSES)
EMBED_ALL: Final = Face("encode", _read_embed_all, _error, TeiAllBody, _STATUSES)
EMBED_SPARSE: Final = Face("encode", _read_embed_sparse, _error, TeiTokensBody, _STATUSES)
RERANK: Final = Face("score", _read_rerank, _error, TeiRerankBody, _STATUSES)
PREDICT: Final = Face("extract", _read_predict, _error, TeiPredictBody, _STATUSES)
SIMILARITY: Final = Face("encode", _read_similarity, _error, TeiSimilarityBody, _STATUSES)
ANY: Final = Face("encode", _read_any, _error, TeiEmbedBody, _STATUSES)
