"""YAML as it is meant in a config: JSON's values, and nothing that is guessed.

*pure.* Promises that what is read can be sent as JSON and means what it looks like: a date stays
the text that was written, a key that stands twice is an error and not the last of both, and a value
that JSON has no form for is refused with its line.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import yaml

from sie_schemas.errors import FixRequest

__all__ = ["dump_yaml", "read_yaml"]

_TAG: Final = "tag:yaml.org,2002:"
_CONSTRUCT: Final = yaml.SafeLoader("")


def read_yaml(text: str, place: str) -> list[Any]:
    """Every document of a text, as JSON values. Raises `FixRequest` that names place and line."""
    try:
        return [_value(node, ()) for node in yaml.compose_all(text, Loader=yaml.SafeLoader)]
    except RecursionError as error:
        raise FixRequest(f"{place}: it is nested too deep") from error
    except (yaml.YAMLError, ValueError) as error:
        raise FixRequest(f"{place} is no YAML: {' '.join(str(error).split())}") from error
    except FixRequest as error:
        raise FixRequest(f"{place}, {error.message}") from error


def dump_yaml(value: Any) -> str:
    """A value as people write it."""
    return cast(
        str, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False)
    )


def _value(node: Any, above: tuple[Any, ...]) -> Any:
    if any(node is each for each in above):
        raise _refused(node, "this holds itself")
    tag = node.tag.removeprefix(_TAG)
    if tag == "map":
        return dict(_pairs(node, (*above, node)))
    if tag == "seq":
        return [_value(part, (*above, node)) for part in node.value]
    if tag not in _SCALARS:
        raise _refused(node, f"a value of type {tag} has no form in JSON")
    return _SCALARS[tag](node)


def _pairs(node: Any, above: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    for at, (key, _) in enumerate(node.value):
        if not isinstance(key, yaml.ScalarNode) or key.tag not in {f"{_TAG}str", f"{_TAG}merge"}:
            raise _refused(key, "a key is a text: quote it")
        if key.value in written[:at]:
            raise _refused(key, f"the key {key.value!r} stands twice")
    # `<<: *other` brings the pairs of another mapping, before its own.
    _CONSTRUCT.flatten_mapping(node)
    for key, part in node.value:
        yield key.value, _value(part, above)


def _finite(node: Any) -> float:
    number = cast(float, _CONSTRUCT.construct_yaml_float(node))
    if not math.isfinite(number):
        raise _refused(node, "a number is finite")
    return number


_SCALARS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "str": lambda node: node.value,
    "timestamp": lambda node: node.value,
    "null": lambda _node: None,
    "bool": _CONSTRUCT.construct_yaml_bool,
    "int": _CONSTRUCT.construct_yaml_int,
    "float": _finite,
}


def _refused(node: Any, problem: str) -> FixRequest:
    return FixRequest(f"line {node.start_mark.line + 1}: {problem}")
