"""The exceptions that a decoder raises for bytes that are not what it reads.

*types.* msgspec has an error of its own for most of what can be wrong with a message. It leaves two
to Python: a text that is not UTF-8, and what is nested too deep. Whoever catches one means all.
"""

import re
from typing import Final

import msgspec

__all__ = ["MALFORMED", "problem_of"]

# msgspec raises the latter two for text that is no UTF-8 and for what is nested too deep.
MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""For an `except`: these bytes are no such message."""

_PATH: Final = re.compile(r" - at (?:`key` in )?`(\$[^`]*)`$")
_NAMED_FIELD: Final = re.compile(r"(?:required|unknown) field `([^`]+)`")


def problem_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """The place where a message is not of its type, as `$.items[0].text`, and the fault there."""
    text = str(error)
    path, named = _PATH.search(text), _NAMED_FIELD.search(text)
    where = (path.group(1) if path else "$") + (f".{named.group(1)}" if named else "")
    return where, _PATH.sub("", text)
