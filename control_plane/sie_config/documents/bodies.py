"""Bodies: the JSON or YAML of a request, read strictly, as the shape that it has to have.

*pure.* Promises that a refusal names the part at fault, and that YAML is no way past what JSON is
refused for. YAML is read on the writer's loop, so that its bounds are narrow; a long body of JSON
is read beside it.
"""

import codecs
import json
from typing import Any, Final, TypeVar

import msgspec

from sie_runtime.texts.bounds import BOUNDS, Bounds
from sie_runtime.texts.fault_advice import fault_advice
from sie_runtime.texts.many_values import has_too_many
from sie_runtime.texts.plain_yaml import read_yaml
from sie_schemas import canonical
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import problem_of

__all__ = ["converted", "parse_json", "parse_yaml"]

T = TypeVar("T")

_YAML: Final = Bounds(bytes_max=256 * 1024, values_max=10_000)
"""A hundred models as people write them. A larger batch is sent as JSON, which costs a fiftieth."""
_VALUES_MAX: Final = BOUNDS.values_max
"""As many as a command may read of files: it sends them as one batch."""


def parse_json(body: bytes) -> Any:
    """The value of a body. Raises `FixRequest`: INVALID_REQUEST for what is not strict JSON or is
    nested deeper than 64 levels, PAYLOAD_TOO_LARGE for too many values."""
    if has_too_many(body, is_msgpack=False, most=_VALUES_MAX, leaves_max=_VALUES_MAX):
        raise FixRequest(
            f"the body holds more than {_VALUES_MAX} lists, maps and names, or as many texts and "
            "numbers: cut it into several",
            code="PAYLOAD_TOO_LARGE",
            field="body",
        )
    try:
        # Some writers of files put the mark there, and a reader may pass over it (RFC 8259).
        value = canonical.loads(body.removeprefix(codecs.BOM_UTF8))
        # Fewer brackets than the bound are not nested deeper: most bodies are not walked.
        if body.count(b"{") + body.count(b"[") > _YAML.depth_max:
            _check_depth(value)
    except canonical.NotCanonical as error:
        raise FixRequest(f"the body cannot be read: {error}", field="body") from error
    except FixRequest as error:
        raise FixRequest(f"the body cannot be read: {error.message}", field="body") from error
    return value


def _check_depth(value: Any) -> None:
    level, depth = [value], 1
    while level:
        _YAML.check_depth(depth)
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
        level, depth = below, depth + 1


def parse_yaml(body: bytes) -> Any:
    """The value of a body that is one document of YAML. Raises `FixRequest` INVALID_REQUEST."""
    if len(body) > _YAML.bytes_max:
        raise FixRequest(
            f"a body of YAML has at most {_YAML.bytes_max} bytes: send a larger one as JSON",
            code="PAYLOAD_TOO_LARGE",
            field="body",
        )
    try:
        values = read_yaml(body.decode("utf-8-sig"), "the body", _YAML)
    except UnicodeDecodeError as error:
        raise FixRequest(f"the body is not UTF-8: byte {error.start}", field="body") from error
    except FixRequest as error:
        raise FixRequest(error.message, field="body") from error
    if len(values) != 1:
        raise FixRequest(
            f"the body holds {len(values)} documents of YAML, and one is wanted: "
            "POST /v1/configs/batch takes several as operations",
            field="body",
        )
    # Through JSON, so that both forms are held to the same rules.
    return parse_json(json.dumps(values[0]).encode())


def converted(value: Any, shape: type[T]) -> T:
    """A decoded body as what it has to be. Raises `FixRequest` naming the part at fault."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        path, message = problem_of(error)
        message += fault_advice(shape, path, message)
        where = path.removeprefix("$").removeprefix(".")
        raise FixRequest(
            f"{where}: {message}" if where else message,
            code="VALIDATION_ERROR",
            field=where or None,
            details=[{"path": where, "message": message}],
        ) from error
