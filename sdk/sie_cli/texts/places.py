"""The line of a text at which a value stands, for who has to mend it.

*pure.* Looks again at a text that was read already, so it is asked for errors alone. A value that
came by an alias or a merge has the line of what holds it.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import yaml

from sie_runtime.texts.plain_yaml import PARSERS

__all__ = ["Spot", "line_of"]

Spot: TypeAlias = tuple[int, int | None]
"""A document of a text, and the part of it where the document is a list."""


def line_of(text: str, spot: Spot, path: Sequence[str] = ()) -> int | None:
    """The line of a value, or of the nearest that holds it; None where that cannot be told."""
    document, part = spot
    try:
        node = list(yaml.compose_all(text, Loader=PARSERS[0]))[document]
        if part is not None:
            node = node.value[part]
        line = node.start_mark.line
        for step in path:
            found = _below(node, step)
            if found is None:
                break
            line, node = found
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, RecursionError):
        return None
    return int(line) + 1


def _below(node: Any, step: str) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if getattr(key, "value", None) == step:
                return key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
        value = node.value[int(step)]
        return value.start_mark.line, value
    return None
