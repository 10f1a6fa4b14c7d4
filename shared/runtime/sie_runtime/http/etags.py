"""ETags of conditional reads.

*pure.* `If-None-Match` is `*` or a list, and compares weakly, as HTTP has it. A proxy that
compressed an answer on its way marks its tag as weak.
"""

import re
from typing import Final

__all__ = ["is_named"]

_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')


def is_named(if_none_match: str | None, tag: str) -> bool:
    """True if the header names this tag, which is quoted, of something that is there."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag in _TAG.findall(if_none_match)
