"""The common part of all processes' OpenAPI documents: the one shape of errors, and answers.

*pure.* Promises that every answer outside of success is told as that shape, unless a route says
another.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["ERROR", "JSON", "answer", "error_answers", "ref"]

JSON: Final = "application/json"
ERROR: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "field": {"type": "string"},
                "details": {},
            },
        }
    },
}


def ref(name: str) -> dict[str, str]:
    """A schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def answer(description: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An answer in JSON; an object where no schema is given."""
    content = {JSON: {"schema": dict(schema or {"type": "object"})}}
    return {"description": description, "content": content}


def error_answers(schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Every answer outside of success; in the one shape where no other is given."""
    told = schema or ref("Error")
    return {
        "4XX": answer("The request is at fault, or has to be sent later.", told),
        "5XX": answer("Not now, or our fault.", told),
    }
