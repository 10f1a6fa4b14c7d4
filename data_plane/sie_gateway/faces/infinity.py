"""Infinity's classes of texts: `POST /classify`.

*pure.* Each text of `input` gets the classes that the model gives it, as `/predict` tells them.
Infinity's other routes are those of OpenAI, Jina and Text Embeddings Inference. Errors have
OpenAI's envelope.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    classes_of,
    extract_request,
    joined,
    usage_of,
)
from sie_gateway.faces.openai import error_body
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer

__all__ = ["CLASSIFY"]


class InfinityClassifyBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The classes of texts, as Infinity has them."""

    input: str | list[str]
    model: str = ""
    raw_scores: bool | None = None
    modality: Literal["text"] | None = None
    options: dict[str, Any] = {}


_BODY: Final = msgspec.json.Decoder(InfinityClassifyBody)
_JSON: Final = msgspec.json.Encoder()


def _read(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: InfinityClassifyBody = decode_body(_BODY, body, form="JSON")
    options = joined(request.options, {"activation": "none" if request.raw_scores else None})
    asked = extract_request(request.input, options, limits, field="input")
    return Translated(models.encoder(request.model), asked, _render)


def _render(answer: Answer) -> bytes:
    return _JSON.encode(
        {
            "object": "classify",
            "id": answer.request_id,
            "data": classes_of(answer),
            "model": answer.route.model_name,
            "usage": usage_of(answer),
        }
    )


CLASSIFY: Final = Face("extract", _read, error_body, InfinityClassifyBody)
