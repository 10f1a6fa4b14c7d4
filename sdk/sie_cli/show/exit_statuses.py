"""Exit statuses of the configuration sub-commands: what a command came to, for scripts.

*pure.* 0 is done. The manual lists them.
"""

from typing import Final

from sie_schemas.errors import FixRequest, SIEError, TimeRanOut

__all__ = ["CONFLICT", "DIFFERS", "INTERRUPTED", "LATE", "NOT_NOW", "WRONG", "exit_status"]

DIFFERS: Final = 1
"""As `diff` says it."""
WRONG: Final = 2
"""The request itself cannot be: as for a wrong command line."""
NOT_NOW: Final = 3
"""The same command may work later."""
CONFLICT: Final = 4
"""Somebody else changed it: look again."""
LATE: Final = 5
"""It was written, and not seen everywhere in time."""
INTERRUPTED: Final = 130
"""As a shell tells of a program that Ctrl-C ended."""
_CONFLICTS: Final = frozenset(
    {"AHEAD", "ENTITY_CONFLICT", "FORCE_REQUIRED", "GONE", "PRECONDITION_FAILED"}
)


def exit_status(error: SIEError) -> int:
    """The status that tells a script of an error."""
    if error.code in _CONFLICTS:
        return CONFLICT
    match error:
        case FixRequest():
            return WRONG
        case TimeRanOut():
            return LATE
        case _:
            return NOT_NOW
