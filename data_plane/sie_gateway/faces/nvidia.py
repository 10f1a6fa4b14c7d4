"""NVIDIA's ranking: `POST /v1/ranking`.

*pure.* Query and passages are objects with a text, and each passage is told its logit. A pair that
is too long is refused unless `truncate` is `END`, which is that API's default. `options` is ours.
Errors have OpenAI's envelope. NVIDIA's embeddings are OpenAI's.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    joined,
    ranking,
    rerank_request,
    usage_of,
)
from sie_gateway.faces.openai import error_body
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer

__all__ = ["RANKING"]


class _Passage(Struct, frozen=True, forbid_unknown_fields=True):
    text: str


class NvidiaRankingBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ranking of passages, as NVIDIA has it."""

    query: _Passage
    passages: list[_Passage]
    model: str = ""
    truncate: Literal["NONE", "END"] | None = None
    options: dict[str, Any] = {}


_BODY: Final = msgspec.json.Decoder(NvidiaRankingBody)
_JSON: Final = msgspec.json.Encoder()


def _read(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: NvidiaRankingBody = decode_body(_BODY, body, form="JSON")
    options = joined(request.options, {"truncate": None if request.truncate == "END" else "none"})
    texts = [passage.text for passage in request.passages]
    asked = rerank_request(request.query.text, texts, options, limits, field="passages")
    return Translated(models.ranker(request.model), asked, _render)


def _render(answer: Answer) -> bytes:
    ranked = [{"index": each.index, "logit": each.logit} for each in ranking(answer)]
    return _JSON.encode({"rankings": ranked, "usage": usage_of(answer)})


RANKING: Final = Face("score", _read, error_body, NvidiaRankingBody)
