"""Templates: the words that a model's author puts around a text.

*pure.* A template is a text with names in braces, each filled once and in one pass. What is filled
in is never read as a template itself. Promises that a name which nobody fills is refused when the
template is read. A brace that encloses no plain word is a brace.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sie_core.nearest import advice
from sie_schemas.errors import FixRequest

__all__ = ["INSTRUCTION", "TEXT", "Template", "text_template"]

TEXT: Final = "text"
INSTRUCTION: Final = "instruction"
_NAME: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read."""

    parts: tuple[str, ...]
    """Literal texts and names in turn; the first and the last are literal."""

    @classmethod
    def read(
        cls, source: str, names: Collection[str], *, required: Collection[str] = ()
    ) -> "Template":
        """Read a template that may hold `names`, each once. Raises `FixRequest` INVALID_REQUEST."""
        parts = tuple(_NAME.split(source))
        held = parts[1::2]
        for name in held:
            if name not in names:
                raise FixRequest(f"a template has no place {{{name}}}; {advice(name, names)}")
            if held.count(name) > 1:
                raise FixRequest(f"a template has {{{name}}} twice")
        for name in required:
            if name not in held:
                raise FixRequest(f"a template has {{{name}}} where that is to be filled in")
        return cls(parts)

    @property
    def names(self) -> frozenset[str]:
        """The names that it holds."""
        return frozenset(self.parts[1::2])

    @property
    def before_last(self) -> bool:
        """True if nothing stands behind its last name."""
        return not self.parts[-1]

    def filled(self, values: Mapping[str, str]) -> str:
        """The text, with a value for each of its names."""
        return "".join(values[part] if place % 2 else part for place, part in enumerate(self.parts))


def text_template(source: str) -> Template:
    """The template of a text that is encoded: `{text}` ends it, `{instruction}` may stand before.

    What followed the text would be cut from long ones, so it is refused. Raises `FixRequest`.
    """
    template = Template.read(source, (INSTRUCTION, TEXT), required=(TEXT,))
    if not template.before_last or template.parts[-2] != TEXT:
        raise FixRequest("a template ends in {text}: what follows would be cut from long texts")
    return template
