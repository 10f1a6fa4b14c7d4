"""The end of a command: its exit status for scripts, and the line of an error for a person.

*pure.* 0 is done. The manual lists them.
"""

from typing import Final

from sie_schemas.errors import FixRequest, SIEError, TimeRanOut

__all__ = [
    "CONFLICT",
    "DIFFERS",
    "INTERRUPTED",
    "LATE",
    "NOT_NOW",
    "WRONG",
    "exit_status",
    "line_of",
    "line_of_os",
]

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


_CURES: Final = {
    "UNAUTHORIZED": "; give one that `sie token new` made for this cluster in SIE_API_KEY, or a "
    "context with --token-file",
    "FORBIDDEN": "; ask for a token with that role, or use another with --context",
    "GATEWAY_TIMEOUT": "; `sie doctor` says what hangs",
    "NOT_READY": "; `sie doctor` says what runs",
    "FORCE_REQUIRED": "; --force REASON passes it, and the log keeps the reason",
}
"""Words for a command line about a refusal that was written for every client."""


def line_of(error: SIEError) -> str:
    """The line that tells a person of an error."""
    return f"sie: {error.message}{_CURES.get(error.code, '')}"


def line_of_os(error: OSError) -> str:
    """The same for what the system refused. Only of the folder one stands in it says no name."""
    gone = "the current folder" if isinstance(error, FileNotFoundError) else "the output"
    return f"sie: {error.filename or gone}: {error.strerror or error}"


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
