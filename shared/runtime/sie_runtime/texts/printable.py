"""Characters that are seen: what a terminal would obey is written by its code.

*pure.* A name or a reason is anybody's. It may hold the end of a line, a colour, or a mark that
turns the text around. A terminal would then show something else than what is stored.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["escaped", "json_code", "yaml_code"]

_JOINER: Final = "\u200d"
"""Joins emoji to one picture, and does nothing else."""


def escaped(text: str, code: Callable[[str], str], kept: str = "") -> str:
    """A text without characters that a terminal would obey: `code` gives what is written for each.

    `kept` are characters that stay.
    """
    if text.isprintable():
        return text
    stays = {*kept, _JOINER}
    return "".join(each if each.isprintable() or each in stays else code(each) for each in text)


def json_code(character: str) -> str:
    """A character as JSON writes it in a string: of two halves above U+FFFF."""
    halves = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{halves[at : at + 4]}" for at in range(0, len(halves), 4))


def yaml_code(character: str) -> str:
    """A character as YAML writes it in double quotes."""
    number = ord(character)
    return f"\\U{number:08x}" if number > 0xFFFF else f"\\u{number:04x}"
