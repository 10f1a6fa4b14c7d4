"""The parts that a config.json asks for by their number, before any of them is made.

*pure.* Sizes are held to the weights when a model loads, and cost nothing before. Parts are made
one by one, as Python's objects, before anybody looks at a weight. A million of layers would
take all memory, and an hour.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["LABELS_MAX", "PARTS_MAX", "too_many_parts"]

PARTS_MAX: Final = 2000
"""Layers, blocks, experts: several times those of the largest published model."""
LABELS_MAX: Final = 1_000_000
"""Of whatever else is numbered, classes and words among it: names for so many take a second."""
_PARTS: Final = re.compile(r"layers?$|depths?$|blocks?$|experts?$|stages?$|groups?$|codebooks?$")
_NUMBERED: Final = re.compile(r"^(num|n)_(labels|classes|words)$|^vocab_size$")
_NAMES: Final = frozenset({"label2id", "id2label", "added_tokens_decoder"})
"""Their keys are words of the author's, and make nothing."""
_DEEP_MAX: Final = 4
"""Configs inside of configs: a model of texts and images has two deep."""


def too_many_parts(config: Mapping[str, Any], deep: int = 0) -> Iterator[str]:
    """Each key that asks for more parts than any model has."""
    for key, value in config.items():
        if key in _NAMES:
            continue
        if isinstance(value, Mapping) and deep < _DEEP_MAX:
            yield from too_many_parts(value, deep + 1)
            continue
        most = PARTS_MAX if _PARTS.search(key) else LABELS_MAX if _NUMBERED.search(key) else None
        numbers = value if isinstance(value, list) else [value]
        if most is not None and any(isinstance(n, int | float) and n > most for n in numbers):
            yield f"{key} is {str(value)[:80]}, and at most {most} are made"
