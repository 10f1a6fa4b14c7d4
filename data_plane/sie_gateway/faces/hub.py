"""The hub's tasks on texts, at a model's path: `POST /tei/{model}` with `parameters`.

*pure.* A text gets classes or entities by what the model is for, which its backend tells. Where the
backend is another package's, the answer tells it. `candidate_labels` are the labels to choose from.
An answer for one text is that of the hub: classes in a list of their own unless labels were given,
entities without one. What else the hub knows is refused by name, and so is a parameter of the other
task.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from sie_gateway.faces.face import (
    FaceModels,
    Translated,
    answered_items,
    extract_request,
    joined,
    unsupported,
)
from sie_gateway.request.requests import Limits, decode_body
from sie_gateway.request.responses import Answer

__all__ = ["HubBody", "read_hub"]


class HubParameters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameters of the hub's tasks `text-classification`, `zero-shot-classification` and
    `token-classification`."""

    candidate_labels: list[str] | None = None
    multi_label: bool | None = None
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    top_k: Annotated[int, Meta(ge=1)] | None = None
    aggregation_strategy: Literal["simple", "first", "max", "average"] | None = None
    ignore_labels: list[str] = []


class HubBody(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Texts and the parameters of a task of the hub."""

    inputs: str | list[str]
    parameters: HubParameters
    model: str = ""
    options: dict[str, Any] = {}


_BODY: Final = msgspec.json.Decoder(HubBody)
_JSON: Final = msgspec.json.Encoder()
_GIVES_CLASSES: Final = {
    "gliclass": True, "text-classification": True, "zero-shot-classification": True,
    "gliner": False, "spacy": False, "token-classification": False,
}  # fmt: skip


def read_hub(body: bytes, limits: Limits, models: FaceModels) -> Translated:
    """Classes or entities of texts, as the hub's clients ask for them. Raises `FixRequest`."""
    request: HubBody = decode_body(_BODY, body, form="JSON")
    model = models.encoder(request.model)
    gives_classes = _GIVES_CLASSES.get(models.backend(model))
    if gives_classes is not None:
        _require_of_task(request, gives_classes=gives_classes)
    asked = extract_request(
        request.inputs,
        _options(request),
        limits,
        field="inputs",
        labels=request.parameters.candidate_labels or (),
    )
    return Translated(model, asked, lambda answer: _render(answer, request, gives_classes))


def _require_of_task(request: HubBody, *, gives_classes: bool) -> None:
    """Refuse the parameters that say something of the other task. Raises `FixRequest`."""
    said = request.parameters
    if gives_classes and said.ignore_labels:
        raise unsupported("$.parameters.ignore_labels", "is of entities, and this model classifies")
    if not gives_classes and said.top_k is not None:
        raise unsupported("$.parameters.top_k", "is of classes, and this model finds entities")


def _options(request: HubBody) -> dict[str, Any]:
    said = request.parameters
    if said.multi_label and not said.candidate_labels:
        raise unsupported(
            "$.parameters.multi_label", "is of candidate_labels, and there are none: name them"
        )
    told = {
        # The hub's clients say false wherever they give labels, and only there it has a meaning.
        "multi_label": said.multi_label if said.candidate_labels else None,
        "activation": said.function_to_apply,
        "aggregation": said.aggregation_strategy,
    }
    return joined(request.options, told)


def _render(answer: Answer, request: HubBody, gives_classes: bool | None) -> bytes:
    said, items = request.parameters, answered_items(answer)
    if gives_classes is None:
        gives_classes = any(item.get("classifications") for item in items)
        if gives_classes or any(item.get("entities") for item in items):
            _require_of_task(request, gives_classes=gives_classes)
        else:
            # Nothing was found, so only the request can tell what was looked for.
            gives_classes = said.top_k is not None
    told: list[Any] = (
        [(item.get("classifications") or [])[: said.top_k] for item in items]
        if gives_classes
        else [_entities(item.get("entities") or [], said.ignore_labels) for item in items]
    )
    # Its client takes the first of a list of classes for the classes of the text.
    listed = gives_classes and not said.candidate_labels
    return _JSON.encode(told[0] if isinstance(request.inputs, str) and not listed else told)


def _entities(found: list[Any], ignored: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "entity_group": entity["label"],
            "score": entity["score"],
            "word": entity["text"],
            "start": entity["start"],
            "end": entity["end"],
        }
        for entity in found
        if entity["label"] not in ignored
    ]
