"""Bodies: the JSON of a request, read strictly, as the shape that it has to have.

*pure.* Promises that a refusal names the part at fault.
"""

from typing import Any, TypeVar

import msgspec

from sie_schemas import canonical
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import problem_of

__all__ = ["converted", "parse_json"]

T = TypeVar("T")


def parse_json(body: bytes) -> Any:
    """The value of a body. Raises `FixRequest` INVALID_REQUEST for what is not strict JSON."""
    try:
        return canonical.loads(body)
    except canonical.NotCanonical as error:
        raise FixRequest(f"the body cannot be read: {error}", field="body") from error


def converted(value: Any, shape: type[T]) -> T:
    """A decoded body as what it has to be. Raises `FixRequest` naming the part at fault."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        path, message = problem_of(error)
        where = path.removeprefix("$").removeprefix(".")
        raise FixRequest(
            f"{where}: {message}" if where else message,
            code="VALIDATION_ERROR",
            field=where or None,
            details=[{"path": where, "message": message}],
        ) from error
