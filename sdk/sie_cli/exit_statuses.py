"""Exit statuses of the configuration sub-commands: what a command came to, for scripts.

*pure.* 0 is done. The manual lists them.
"""

from typing import Final

from sie_schemas.errors import SIEError, TimeRanOut
from sie_sdk import SIEConnectionError

__all__ = ["CONFLICT", "DIFFERS", "LATE", "UNREACHABLE", "WRONG", "exit_status"]

DIFFERS: Final = 1
WRONG: Final = 2
UNREACHABLE: Final = 3
CONFLICT: Final = 4
LATE: Final = 5
_CONFLICTS: Final = frozenset(
    {"AHEAD", "ENTITY_CONFLICT", "FORCE_REQUIRED", "GONE", "PRECONDITION_FAILED"}
)


def exit_status(error: SIEError) -> int:
    """What an error means to a script."""
    if isinstance(error, SIEConnectionError):
        return UNREACHABLE
    if error.code in _CONFLICTS:
        return CONFLICT
    return LATE if isinstance(error, TimeRanOut) else WRONG
