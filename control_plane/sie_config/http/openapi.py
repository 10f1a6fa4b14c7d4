"""The OpenAPI document of sie-config: what FastAPI knows of its routes, and the direct routes.

*types.* The routes that write bypass the framework, so they are described here. Promises that every
answer outside of success is described as the one shape of errors. The shapes of bodies come from
the very types that read them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from sie_config.documents.differences import PLURALS
from sie_config.http.console.inspect_routes import INSPECT_BODIES
from sie_config.http.console.letter_routes import LETTER_BODIES
from sie_config.http.doors import DOCUMENT_BODY, JSON_BODY
from sie_config.http.group_routes import BODIES
from sie_config.http.json_answers import NDJSON
from sie_config.writer.operations import BatchBody
from sie_runtime.access.openapi_words import ERROR, JSON, answer, error_answers, ref
from sie_schemas.api.log import (
    Alive,
    Asked,
    Compacted,
    Forgotten,
    HeadWithWriter,
    LetterList,
    LetterRun,
    LettersDropped,
    LogPage,
    QueueList,
    Ready,
    Replicas,
    Verified,
    Waited,
)
from sie_schemas.api.past import (
    AdapterList,
    Audit,
    Blame,
    BundleList,
    Difference,
    EntityHistory,
    EntityShown,
    EntryEnvelope,
    EntryList,
    ModelDocumentList,
    PoolDocumentList,
    Resolved,
)
from sie_schemas.api.writes import DryRun, EntityDeleted, EntityWritten, GroupWritten
from sie_schemas.documents import DOCUMENT_TYPES

__all__ = ["openapi_document"]

_OBJECT: Final[Mapping[str, Any]] = {"type": "object"}
_TEXT_ANSWERS: Final = frozenset({"/metrics"})
_LINES: Final = frozenset({"/v1/configs/audit", "/v1/configs/log"})
_EVENTS: Final = "/v1/configs/events"
_VERSION: Final = "1"
_LISTS: Final[Mapping[str, type]] = {
    "model": ModelDocumentList,
    "adapter": AdapterList,
    "bundle": BundleList,
    "pool": PoolDocumentList,
}
_OF_A_KIND: Final[Mapping[str, type]] = {
    "/{key}": EntityShown,
    "/{key}/history": EntityHistory,
    "/{key}/blame": Blame,
}
_READ: Final[Mapping[str, Any]] = {
    "/healthz": Alive,
    "/readyz": Ready,
    "/v1/queues": QueueList,
    "/v1/dead-letters": LetterList,
    "/v1/configs/audit": Audit,
    "/v1/configs/diff": Difference,
    "/v1/configs/entries": EntryList,
    "/v1/configs/entries/{epoch}": EntryEnvelope,
    "/v1/configs/epoch": HeadWithWriter,
    "/v1/configs/log": LogPage,
    "/v1/configs/replicas": Replicas,
    "/v1/configs/resolve": Resolved,
    "/v1/configs/verify": Verified,
    **{f"/v1/configs/{PLURALS[kind]}": told for kind, told in _LISTS.items()},
    **{
        f"/v1/configs/{plural}{ending}": told
        for plural in PLURALS.values()
        for ending, told in _OF_A_KIND.items()
    },
}
"""The types of what is read, by path. A snapshot is described in `sie_schemas.snapshot`."""
_ACTS: Final[Mapping[str, type]] = {
    "/v1/configs/replicas": HeadWithWriter,
    "/v1/configs/wait": Waited,
    "/v1/configs/replicas/forget": Forgotten,
    "/v1/configs/replicas/resync": Asked,
    "/v1/dead-letters/retry": LetterRun,
    "/v1/dead-letters/drop": LettersDropped,
}
"""The types of what else is done, by path. An inspection tells what it found, of any kind."""
_BODIES: Final = {**BODIES, **LETTER_BODIES, **INSPECT_BODIES}


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document, as JSON."""
    document = get_openapi(
        title=app.title, version=_VERSION, description=app.description, routes=app.routes
    )
    for path, methods in document["paths"].items():
        for operation in methods.values():
            operation["responses"] = _responses(path, _READ.get(path))
    for path, method, operation in _writes():
        document["paths"].setdefault(path, {})[method] = operation
    document["components"] = {"schemas": dict(sorted(_schemas().items()))}
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def _writes() -> list[tuple[str, str, dict[str, Any]]]:
    found: list[tuple[str, str, dict[str, Any]]] = []
    for kind, plural in PLURALS.items():
        path = f"/v1/configs/{plural}"
        body = ref(DOCUMENT_TYPES[kind].__name__)
        one = f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
        keyed = [_path_parameter("key"), *_WRITE_PARAMETERS]
        found += [
            (path, "post", _write(f"Create or replace {one}.", body, EntityWritten)),
            (
                path + "/{key}",
                "put",
                _write(f"Create or replace {one}.", _OBJECT, EntityWritten, keyed),
            ),
            (
                path + "/{key}",
                "patch",
                _write(f"Merge a patch into {one}.", _OBJECT, EntityWritten, keyed),
            ),
            (path + "/{key}", "delete", _write(f"Remove {one}.", None, EntityDeleted, keyed)),
        ]
        patch = found[-2][2]["requestBody"]
        patch["content"] = {"application/merge-patch+json": patch["content"][JSON]}
    found.append(
        (
            "/v1/configs/batch",
            "post",
            _write(
                "All operations as one entry, or none of them.",
                ref("BatchBody"),
                GroupWritten,
            ),
        )
    )
    compact = _act("Raise the low water: older entries are no delta any more.", _OBJECT, Compacted)
    found.append(("/v1/configs/compact", "post", compact))
    for path, (body_type, summary, is_write) in _BODIES.items():
        body = ref(body_type.__name__)
        if is_write:
            told = _write(summary, body, GroupWritten, media=JSON_BODY)
        else:
            told = _act(summary, body, _ACTS.get(path))
        found.append((path, "post", told))
    return found


def _write(
    summary: str,
    body: Mapping[str, Any] | None,
    written: type,
    parameters: list[Any] | None = None,
    media: Sequence[str] = DOCUMENT_BODY,
) -> dict[str, Any]:
    """A route that changes the log, or with `dry_run` says what it would change."""
    done = answer("Done.", {"anyOf": [ref(written.__name__), ref(DryRun.__name__)]})
    return {
        "summary": summary,
        "parameters": _WRITE_PARAMETERS if parameters is None else parameters,
        "responses": _responses("")
        | {"200": done, "201": answer("Created.", ref(written.__name__))},
        **_request(body, media),
    }


def _act(summary: str, body: Mapping[str, Any], told: type | None) -> dict[str, Any]:
    """A route that does something else than a change of the log."""
    return {
        "summary": summary,
        "parameters": [],
        "responses": _responses("", told),
        **_request(body, JSON_BODY),
    }


def _request(body: Mapping[str, Any] | None, media: Sequence[str]) -> dict[str, Any]:
    if body is None:
        return {}
    content = {each: {"schema": body} for each in media}
    return {"requestBody": {"required": True, "content": content}}


def _responses(path: str, told: type | None = None) -> dict[str, Any]:
    success = answer("Done.", ref(told.__name__) if told is not None else None)
    if path in _TEXT_ANSWERS:
        success = {"description": "Text.", "content": {"text/plain": {}}}
    elif path == _EVENTS:
        success = {"description": "Events, without an end.", "content": {"text/event-stream": {}}}
    elif path in _LINES:
        success["content"][NDJSON] = {}
    return {
        "200": success,
        "304": {"description": "It is what If-None-Match names."},
        **error_answers(),
    }


def _schemas() -> dict[str, Any]:
    _, pydantic_schemas = models_json_schema(
        [(each, "validation") for each in DOCUMENT_TYPES.values()],
        ref_template="#/components/schemas/{model}",
    )
    bodies = [BatchBody, *(body_type for body_type, _, _ in _BODIES.values())]
    told = [
        *_READ.values(),
        *_ACTS.values(),
        EntityWritten,
        EntityDeleted,
        GroupWritten,
        Compacted,
        DryRun,
    ]
    _, msgspec_schemas = msgspec.json.schema_components(
        [*bodies, *dict.fromkeys(told)], ref_template="#/components/schemas/{name}"
    )
    return {**pydantic_schemas["$defs"], **msgspec_schemas, "Error": dict(ERROR)}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": dict(schema)}


def _header(name: str, description: str, pattern: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "pattern": pattern},
    }


_WORDS: Final = "^[!-~]( ?[!-~]){0,60}$"
_WRITE_PARAMETERS: Final[list[Any]] = [
    _query("dry_run", {"type": "string", "enum": ["true", "false"]}),
    _query("ack", {"type": "string", "enum": ["local", "stream"]}),
    _query("wait", {"type": "string", "enum": ["converged", "effective"]}),
    _query("timeout", {"type": "number", "minimum": 0, "maximum": 600}),
    _header("X-SIE-Actor", "Who asks, if no token says so.", _WORDS),
    _header("X-SIE-Reason", "Why: kept in the entry.", _WORDS),
    _header("X-SIE-Force", "Why a gate is to let this pass: kept in the entry.", _WORDS),
    _header("X-Request-Id", "A name for this request: kept in the entry.", _WORDS),
    _header("Idempotency-Key", "The same key and request: the same answer.", _WORDS),
    _header("If-Match", "The ETag that the entity must have.", r'^(\*|"[0-9a-f]{8}-[0-9]{1,9}")$'),
    _header("If-None-Match", "The entity must be absent.", r"^\*$"),
    _header("If-Match-Epoch", "The epoch that the head must have.", "^[0-9]{1,9}$"),
]
