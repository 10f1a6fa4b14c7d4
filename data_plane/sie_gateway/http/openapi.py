"""The OpenAPI document of the gateway: what FastAPI knows of its routes, and the inference routes.

*pure.* Inference bypasses the framework, so it is described here. Promises that the shapes of
bodies come from the very types that read them.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from msgspec import Struct

from sie_gateway.faces import FACES, TEI_FACES, TEI_PREFIX
from sie_runtime.access.openapi_words import ERROR, JSON, answer, error_answers, ref
from sie_schemas.api.cluster import HealthResponse
from sie_schemas.api.leases import LeaseRequest
from sie_schemas.api.models import (
    ConfigDocument,
    ModelList,
    ModelWithStatus,
    NamedModel,
    RegistryPosition,
)
from sie_schemas.api.pools import PoolDeleted, PoolList, PoolRenewed, PoolResponse
from sie_schemas.items import EncodeRequest, ExtractRequest, ScoreRequest

__all__ = ["openapi_document"]

_MSGPACK: Final = "application/x-msgpack"
_VERSION: Final = "1"
_NATIVE: Final[Mapping[str, tuple[type[Struct], str]]] = {
    "encode": (EncodeRequest, "Vectors of each item."),
    "score": (ScoreRequest, "The items ranked against the query, best first."),
    "extract": (ExtractRequest, "What is found in each item."),
}
_TEXT: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_CONFIGS: Final = "/v1/configs"
_ANSWERS: Final[Mapping[tuple[str, str], type]] = {
    ("get", "/health"): HealthResponse,
    ("get", "/v1/models"): ModelList,
    ("get", "/v1/models/{spec}"): NamedModel,
    ("get", f"{_CONFIGS}/epoch"): RegistryPosition,
    ("get", f"{_CONFIGS}/models/{{model_id}}"): ConfigDocument,
    ("get", f"{_CONFIGS}/models/{{model_id}}/status"): ModelWithStatus,
    ("get", f"{_CONFIGS}/bundles/{{name}}"): ConfigDocument,
    ("get", "/v1/pools"): PoolList,
    ("post", "/v1/pools"): PoolResponse,
    ("get", "/v1/pools/{name}"): PoolResponse,
    ("post", "/v1/pools/{name}/renew"): PoolRenewed,
    ("delete", "/v1/pools/{name}"): PoolDeleted,
}
"""The types of answers, by method and path. Those of TEI's own API are in its own words."""
_ANY: Final[Mapping[str, Any]] = {}
_WORD: Final = {"type": "string", "pattern": "^[!-~]{1,64}$"}
_WAIT: Final = {"type": "string", "pattern": "^wait=[0-9]{1,6}$"}
_PLACE: Final[list[Mapping[str, Any]]] = [
    {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": schema,
    }
    for name, description, schema in (
        ("X-SIE-Pool", "The pool, or the lease, that the request is for.", _WORD),
        ("X-SIE-MACHINE-PROFILE", "The kind of hardware to run on.", _WORD),
        ("Prefer", "`wait=SECONDS`: hold the request so long where no worker is ready.", _WAIT),
    )
]
_MODEL: Final[Mapping[str, Any]] = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "`id`, an alias, `id:profile`, each with `bundle:/` before it or without; "
    "its slash may stand as it is.",
    "schema": {"type": "string", "minLength": 1},
}
_TOLD: Final[Mapping[str, str]] = {
    "X-SIE-Request-Id": "The request's name in logs.",
    "X-SIE-Config-Epoch": "The position of the configuration that it was answered under.",
    "X-SIE-Model-Revision": "The digest of the model's configuration.",
    "X-SIE-Worker": "Who answered.",
    "X-Queue-Time": "Milliseconds on the queue.",
    "X-Tokenization-Time": "Milliseconds of tokenization.",
    "X-Inference-Time": "Milliseconds on the device.",
    "X-SIE-Units-Input-Tokens": "Tokens of the texts.",
}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document, as JSON."""
    document = get_openapi(
        title=app.title, version=_VERSION, description=app.description, routes=app.routes
    )
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation["responses"] = _responses(method, path)
    document["paths"]["/v1/pools"]["post"]["requestBody"] = _body(LeaseRequest, msgpack=False)
    for operation_name, (body, summary) in _NATIVE.items():
        document["paths"][f"/v1/{operation_name}/{{model}}"] = {"post": _native(body, summary)}
    for path, face in FACES.items():
        document["paths"].setdefault(path, {})["post"] = _face(face.body)
    for ending, face in TEI_FACES.items():
        path = f"{TEI_PREFIX}{{model}}{ending}"
        document["paths"].setdefault(path, {})["post"] = _face(face.body, _MODEL)
    document["components"] = {"schemas": dict(sorted(_schemas().items()))}
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def _native(body: type[Struct], summary: str) -> dict[str, Any]:
    answered = answer("The answers, in the order of the items.")
    answered["content"][_MSGPACK] = {}
    answered["headers"] = {
        name: {"description": description, "schema": {"type": "string"}}
        for name, description in _TOLD.items()
    }
    return {
        "summary": summary,
        "parameters": [_MODEL, *_PLACE],
        "requestBody": _body(body, msgpack=True),
        "responses": {
            "200": answered,
            "202": answer("No worker is ready; nothing was queued. Send it again."),
            **error_answers(),
        },
    }


def _face(body: type[Struct], *parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "summary": " ".join((body.__doc__ or "").partition("\n\n")[0].split()),
        "parameters": [*parameters, *_PLACE],
        "requestBody": _body(body, msgpack=False),
        "responses": {"200": answer("As that API tells it.", _ANY), **error_answers(_FACE_ERROR)},
    }


_FACE_ERROR: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "An error as that API tells it.",
}


def _body(body: type[Struct], *, msgpack: bool) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": ref(body.__name__)}}
    if msgpack:
        content[_MSGPACK] = {}
    return {"required": True, "content": content}


def _responses(method: str, path: str) -> dict[str, Any]:
    told = _ANSWERS.get((method, path))
    done = answer("Done.", ref(told.__name__) if told is not None else None)
    if path in _TEXT:
        done = {"description": "Text.", "content": {"text/plain": {}}}
    success = "201" if (method, path) == ("post", "/v1/pools") else "200"
    return {success: done, **error_answers()}


def _schemas() -> dict[str, Any]:
    bodies = [LeaseRequest, *(body for body, _ in _NATIVE.values())]
    bodies += [face.body for face in FACES.values()]
    told = [*bodies, *dict.fromkeys(_ANSWERS.values())]
    _, schemas = msgspec.json.schema_components(told, ref_template="#/components/schemas/{name}")
    return {**schemas, "Error": dict(ERROR)}
