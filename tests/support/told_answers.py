"""Answers against the committed OpenAPI documents: each field that is named, and no other.

*pure.* A field that the document does not name is wrong here, though OpenAPI would let it pass.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

__all__ = ["OPENAPI_FILES", "check_answer", "told_answers"]

_FOLDER = Path(__file__).parents[2] / "docs" / "openapi"
OPENAPI_FILES = {name: _FOLDER / f"{name}.json" for name in ("sie-config", "sie-gateway")}

_JSON = "application/json"
_DONE = ("200", "201")


@cache
def told_answers(service: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    """The schema of each answer whose type is named, by method, path and status."""
    document = json.loads(OPENAPI_FILES[service].read_text())
    return {
        (method, path, int(status)): schema
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for status in _DONE
        if (schema := _schema(operation["responses"].get(status, {}))) != {"type": "object"}
    }


def check_answer(service: str, method: str, path: str, status: int, body: bytes) -> bool:
    """Raise `jsonschema_rs.ValidationError` for another answer; False where none is named."""
    for at, (told_method, _, told_status), validator in _validators(service):
        if (method.lower(), status) == (told_method, told_status) and at.fullmatch(path):
            validator.validate(json.loads(body))
            return True
    return False


def _schema(response: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = response.get("content", {}).get(_JSON, {}).get("schema", {})
    return schema or {"type": "object"}


@cache
def _validators(service: str) -> list[tuple[re.Pattern[str], tuple[str, str, int], Any]]:
    document = json.loads(OPENAPI_FILES[service].read_text())
    components = {"schemas": _strict(document["components"]["schemas"])}
    # The path of an entity takes anything, also the ends of longer ones.
    longest_first = sorted(told_answers(service).items(), key=lambda each: -len(each[0][1]))
    return [
        (
            re.compile(re.sub(r"\\{[a-z_]+\\}", ".+", re.escape(which[1]))),
            which,
            jsonschema_rs.validator_for({**schema, "components": components}),
        )
        for which, schema in longest_first
    ]


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if "properties" in schema else {}
    return {name: _strict(each) for name, each in schema.items()} | more
