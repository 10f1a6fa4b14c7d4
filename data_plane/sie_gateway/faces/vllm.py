"""vLLM's scores of pairs: `POST /score` and `/v1/score`.

*pure.* `text_1` is a query, and each text of `text_2` is scored against it, in the order of the
request. A score is the model's probability, or its logit where `use_activation` is false. `options`
is ours. vLLM's rankings are Jina's, its embeddings OpenAI's, and so are its errors.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from sie_gateway.faces.face import (
    Face,
    FaceModels,
    Translated,
    only,
    ranking,
    rerank_request,
    unsupported,
    usage_of,
)
from sie_gateway.faces.openai import error_body
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer

__all__ = ["SCORE"]


class VllmScoreBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The scores of pairs, as vLLM has them."""

    text_1: str | list[str]
    text_2: str | list[str]
    model: str = ""
    use_activation: bool | None = None
    priority: int | None = None
    user: str | None = None
    options: dict[str, Any] = {}


_BODY: Final = msgspec.json.Decoder(VllmScoreBody)
_JSON: Final = msgspec.json.Encoder()


def _read(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    request: VllmScoreBody = decode_body(_BODY, body, form="JSON")
    only(request.priority, 0, "$.priority")
    queries = [request.text_1] if isinstance(request.text_1, str) else request.text_1
    if len(queries) != 1:
        raise unsupported("$.text_1", f"one text is scored against others here, not {len(queries)}")
    texts = [request.text_2] if isinstance(request.text_2, str) else request.text_2
    asked = rerank_request(queries[0], texts, request.options, limits, field="text_2")
    is_logit = request.use_activation is False
    return Translated(
        models.ranker(request.model), asked, lambda answer: _render(answer, is_logit=is_logit)
    )


def _render(answer: Answer, *, is_logit: bool) -> bytes:
    data = [
        {
            "index": each.index,
            "object": "score",
            "score": each.logit if is_logit else each.score,
        }
        for each in sorted(ranking(answer), key=lambda entry: entry.index)
    ]
    told = {"id": answer.request_id, "object": "list", "created": 0, "data": data}
    return _JSON.encode({**told, "model": answer.route.model_name, "usage": usage_of(answer)})


SCORE: Final = Face("score", _read, error_body, VllmScoreBody)
