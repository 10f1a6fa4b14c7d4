"""A face, and the code that all faces share.

*pure.* A face reads a body into a request of ours and renders our answer in its own form. Promises
that an error names the field by the name that the client gave it, and that a ranking's relevance
lies between 0 and 1. Knows no HTTP.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from sie_gateway.faces.vocabulary import Vocabulary
from sie_gateway.request.requests import Asked, Limits, Request, check_request
from sie_gateway.request.responses import Answer, read_answer
from sie_schemas.arrays import from_wire
from sie_schemas.errors import FixRequest, SIEError, error_for
from sie_schemas.items import (
    EncodeParams,
    EncodeRequest,
    ExtractParams,
    ExtractRequest,
    Item,
    Operation,
    OutputDtype,
    OutputType,
    ScoreRequest,
)

__all__ = [
    "Face",
    "FaceModels",
    "Relevance",
    "Translated",
    "answered_items",
    "classes_of",
    "dense_vectors",
    "encode_request",
    "extract_request",
    "joined",
    "of_length_1",
    "only",
    "ranking",
    "rerank_request",
    "unsupported",
    "usage_of",
]


@dataclass(frozen=True, slots=True)
class FaceModels:
    """The models of requests that name none: `embed` and `rerank` of the gateway's settings, or
    `path`. That is the one that the path names, and it wins over what a body says. `vocabulary` is
    that of token ids; without one they are of the model's own tokenizer. `tasks` tells those of a
    model, `backend` what runs it; none of one that nobody knows."""

    embed: str = ""
    rerank: str = ""
    path: str = ""
    vocabulary: Vocabulary | None = None
    tasks: Callable[[str], Collection[str]] = lambda spec: ()
    backend: Callable[[str], str] = lambda spec: ""

    def encoder(self, named: str) -> str:
        """The model of a request that names this one. Raises `FixRequest` where nobody did."""
        return _named(self.path or named or self.embed)

    def ranker(self, named: str) -> str:
        """The same of a ranking."""
        return _named(self.path or named or self.rerank)


class Translated(Struct, frozen=True):
    """A request of another API in our words, and how its answer is told."""

    spec: str
    asked: Asked
    render: Callable[[Answer], bytes]
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Face:
    """One route of another API. `error` is an error's body in that API's shape, `body` the type
    that reads a request's. `statuses` are its own of some codes, where they are not ours."""

    operation: Operation
    read: Callable[[bytes, Limits, FaceModels], Translated]
    error: Callable[[SIEError], bytes]
    body: type[msgspec.Struct]
    statuses: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Relevance:
    """One text of a ranking, by its place in the request. `score` lies in [0, 1]."""

    index: int
    score: float
    logit: float
    """The number that the score was made of."""


def joined(options: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a request, with what its API says in fields of its own.

    `options` was written for us and goes before. A null says nothing in either and hides no word.
    One that no word fills stays: whoever checks the options refuses a name that nobody knows.
    """
    words = {name: value for name, value in said.items() if value is not None}
    return words | {
        name: value for name, value in options.items() if value is not None or name not in words
    }


def encode_request(
    texts: str | Sequence[str | Item],
    options: dict[str, Any],
    limits: Limits,
    *,
    field: str,
    output: OutputType = "dense",
    output_dtype: OutputDtype = "float32",
    dimensions: int | None = None,
) -> Asked:
    """Vectors of texts that the request has under `field`. Raises `FixRequest`."""
    request = EncodeRequest(
        items=_items(texts),
        params=EncodeParams(
            output_types=(output,),
            output_dtype=output_dtype,
            dimensions=dimensions,
            options=options,
        ),
    )
    return _checked("encode", request, limits, field)


def extract_request(
    texts: str | list[str],
    options: dict[str, Any],
    limits: Limits,
    *,
    field: str,
    labels: Sequence[str] = (),
) -> Asked:
    """All that is found in texts that the request has under `field`. Raises `FixRequest`."""
    params = ExtractParams(labels=tuple(labels), options=options)
    request = ExtractRequest(items=_items(texts), params=params)
    return _checked("extract", request, limits, field)


def rerank_request(
    query: str, texts: list[str], options: dict[str, Any], limits: Limits, *, field: str
) -> Asked:
    """A ranking of texts that the request has under `field`. Raises `FixRequest`."""
    request = ScoreRequest(
        query=Item(text=query),
        # The id is the place in the request: a ranking comes back in another order.
        items=tuple(Item(text=text, id=str(index)) for index, text in enumerate(texts)),
        options=options,
    )
    return _checked("score", request, limits, field)


def answered_items(answer: Answer) -> list[dict[str, Any]]:
    """The answers in the order of the request. Raises the error of the first item without one."""
    items: list[dict[str, Any]] = []
    for index, entry in enumerate(answer.fields["items"]):
        value = read_answer(entry, from_wire)
        # Results go by their place in these APIs, which have no word for one that is missing: one
        # failed item fails the whole.
        if "error" in value:
            code, message = value["error"]["code"], value["error"]["message"]
            # A job that failed whole blames none of its items: with several jobs an innocent text
            # was named.
            if index not in answer.own_failures:
                raise error_for(code, message)
            where = f"{answer.items_path}[{index}]"
            raise error_for(code, f"{where}: {message}", field=where)
        items.append(value)
    return items


def classes_of(answer: Answer) -> list[list[dict[str, Any]]]:
    """The classes of each text, in the order of the request. Raises `FixRequest` for a model that
    gives none."""
    classes = [item.get("classifications") or [] for item in answered_items(answer)]
    if not all(classes):
        raise unsupported("$.model", f"{answer.route.model_name} gives a text no classes")
    return classes


def dense_vectors(answer: Answer) -> list[NDArray[np.float32]]:
    """The vectors in the order of the request. Raises the error of the first item without one."""
    return [item["dense"]["values"] for item in answered_items(answer)]


def of_length_1(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vector by its length. One of zeros has no direction, and stays."""
    return vector / np.float32(np.linalg.norm(vector) or 1)


def ranking(answer: Answer) -> list[Relevance]:
    """The texts by falling score, with the model's own probability of each.

    A score without one is a logit, and its sigmoid is the probability.
    """
    return [
        Relevance(
            int(entry["item_id"]),
            # A worker of the release before tells the score alone, a logit. Where the model has
            # said a probability it is taken: the sigmoid of one made 0.70 both of 0.87 and of 0.85.
            _sigmoid(told.score) if told.relevance is None else told.relevance,
            told.score if told.logit is None else told.logit,
        )
        for entry, told in zip(answer.fields["scores"], answer.judged, strict=True)
    ]


def only(value: Any, default: Any, field: str) -> None:
    """Take a field that is absent or says what is so anyway. Raises `FixRequest`."""
    # Clients send their defaults with each request. Refused is only what would change the answer.
    if value is not None and value != default:
        said = f"may only be {default!r} here" if default is not None else "is not taken here"
        raise unsupported(field, f"{value!r} {said}; leave it out")


def unsupported(field: str, reason: str) -> FixRequest:
    """The request asks for what this cluster does not give."""
    return FixRequest(f"{field}: {reason}", code="UNSUPPORTED_FIELD", field=field)


def usage_of(answer: Answer) -> dict[str, int]:
    """The tokens that were read, by every name that clients of these APIs look for. None is ever
    generated, and some want to be told so."""
    tokens = answer.input_tokens
    return {
        "input_tokens": tokens,
        "prompt_tokens": tokens,
        "completion_tokens": 0,
        "total_tokens": tokens,
    }


def _named(model: str) -> str:
    if not model:
        raise FixRequest(
            "$.model: name a model; this gateway was given none for requests that do not "
            "(SIE_GATEWAY_TEI_EMBED_MODEL, SIE_GATEWAY_TEI_RERANK_MODEL)",
            field="$.model",
        )
    return model


def _items(texts: str | Sequence[str | Item]) -> tuple[Item, ...]:
    listed = [texts] if isinstance(texts, str) else texts
    return tuple(Item(text=one) if isinstance(one, str) else one for one in listed)


def _checked(operation: Operation, request: Request, limits: Limits, field: str) -> Asked:
    try:
        asked = check_request(operation, request, limits, params="$")
        return msgspec.structs.replace(asked, items_path=f"$.{field}")
    except FixRequest as error:
        raise FixRequest(
            # The check speaks of our own form. The client knows the field by the name that it
            # wrote.
            error.message.replace("$.items", f"$.{field}"),
            code=error.code,
            field=(error.field or "$").replace("$.items", f"$.{field}"),
        ) from error


def _sigmoid(logit: float) -> float:
    # Each side takes the exponent that falls: e^800 is no float.
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)
