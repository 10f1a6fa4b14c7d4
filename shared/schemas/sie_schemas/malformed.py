"""What a decoder raises for bytes that are not what it reads.

*types.* msgspec has an error of its own for most of what can be wrong with a message, and leaves
two to Python: a text that is not UTF-8, and what is nested too deep. Whoever catches one means all.
"""

from typing import Final

import msgspec

__all__ = ["MALFORMED"]

MALFORMED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""For an `except`: these bytes are no such message."""
