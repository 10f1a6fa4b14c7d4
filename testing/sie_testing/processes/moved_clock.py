"""A program whose wall clock is moved while it runs, by whoever writes to a file.

*main.* `through_moved_clock` gives the command line that runs an installed Python program so.
`time.time` and `time.time_ns` of its interpreter tell the machine's time and the seconds that stand
in the file. Clocks that only measure are left alone, as a step of the wall clock leaves them.
`datetime`, OpenSSL and SQLite ask the machine itself: nothing here reaches them.
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path
from typing import Final

__all__ = ["run_moved", "through_moved_clock", "write_ahead"]

_AHEAD: Final = struct.Struct("<d")
_PROGRAM: Final = f"from {__name__} import run_moved; run_moved()"


def through_moved_clock(file: Path, argv: list[str]) -> list[str]:
    """The command line that runs a Python program by the clock of a file; the file is made."""
    file.write_bytes(_AHEAD.pack(0.0))
    return [sys.executable, "-c", _PROGRAM, str(file), *argv]


def write_ahead(file: Path, ahead_s: float) -> None:
    """Have the program of this file be so many seconds ahead of the machine from now on."""
    # In its place, in one write: the program has these bytes mapped.
    with file.open("r+b", buffering=0) as opened:
        opened.write(_AHEAD.pack(ahead_s))


def _move(file: Path) -> None:
    with file.open("rb") as opened:
        held = mmap.mmap(opened.fileno(), _AHEAD.size, access=mmap.ACCESS_READ)
    seconds, nanoseconds = time.time, time.time_ns

    def ahead_s() -> float:
        told: float = _AHEAD.unpack_from(held)[0]
        return told

    time.time = lambda: seconds() + ahead_s()
    time.time_ns = lambda: nanoseconds() + int(ahead_s() * 1e9)


def run_moved() -> None:
    """Run what the command line names, by the clock of the file that it names first."""
    _move(Path(sys.argv[1]))
    # The program is imported after this, so that whatever it takes of `time` is moved.
    del sys.argv[:2]
    runpy.run_path(sys.argv[0], run_name="__main__")
