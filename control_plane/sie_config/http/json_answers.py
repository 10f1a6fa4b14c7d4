"""Answers in JSON, past the framework, which would look at every value in them again.

*pure.*
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

__all__ = ["JSON", "NDJSON", "json_answer"]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """One answer. A `Raw` in the value stands for JSON already."""
    return Response(msgspec.json.encode(value), status, headers, JSON)
