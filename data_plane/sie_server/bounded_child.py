"""A stranger's data is read where it can do no harm: in a process of its own that soon ends.

*shell* over one child. The child runs one of our programs, a module with `prepare`, which imports
what it needs and gives the function that answers. Promises that memory, processor time, time and
output are bounded before the child reads its question. An answer counts once the child has ended
well. The child has none of this process's threads, devices and settings.
"""

import importlib.util
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Bounds", "NotAnswered", "answered"]

_INHERITED: Final = ("LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
_SHOWN_MAX: Final = 300
"""A stranger's text in a message of ours."""
_MAPPED: Final = Path("/proc/self/statm")
"""Linux tells there what is mapped. Elsewhere the memory of a process has no bound that holds."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The most that an answer may take."""

    memory_bytes: int
    """Beside the program and its libraries."""
    cpu_s: int
    """Beside its start, in seconds of one processor."""
    written_bytes: int
    """Of each file that it writes, and of its answer."""
    time_s: float
    """From its start to its end, on a machine that is busy."""


class NotAnswered(Exception):
    """The reason is the message."""


def answered(program: Path, question: bytes, bounds: Bounds) -> bytes:
    """The answer of a program to a question. Raises `NotAnswered`."""
    asked = [str(program), *map(str, (bounds.memory_bytes, bounds.cpu_s, bounds.written_bytes))]
    try:
        # Files, and no pipes: their bound is the system's, and none of both waits for the other.
        with (
            tempfile.TemporaryFile() as asking,
            tempfile.TemporaryFile() as answering,
            tempfile.TemporaryFile() as complaining,
        ):
            asking.write(question)
            asking.seek(0)
            ran = subprocess.run(
                [sys.executable, "-I", "-B", __file__, *asked],
                stdin=asking,
                stdout=answering,
                stderr=complaining,
                check=False,
                timeout=bounds.time_s,
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
            )
            if ran.returncode:
                complaining.seek(0)
                raise NotAnswered(_end(ran.returncode, complaining.read(), bounds))
            answering.seek(0)
            return answering.read()
    except subprocess.TimeoutExpired as error:
        raise NotAnswered(f"its reader takes longer than {bounds.time_s:g} s") from error
    except OSError as error:
        raise NotAnswered(f"its reader could not be started: {error}") from error


def _end(status: int, complaint: bytes, bounds: Bounds) -> str:
    if status > 0:
        last = complaint.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        return f"its reader ended with status {status}: {last[:_SHOWN_MAX]}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if -status == signal.SIGXCPU:
        return f"it wants more than {bounds.cpu_s} s of processor time"
    if -status == signal.SIGKILL:
        return f"its reader was ended by {name}, as a system that is short of memory does"
    return f"its reader died of {name}"


def _answer() -> None:
    """Of the child."""
    program, memory_bytes, cpu_s, written_bytes = sys.argv[1:]
    # What a library has to say on stdout is no answer.
    answering = os.dup(1)
    os.dup2(2, 1)
    spec = importlib.util.spec_from_file_location("program", program)
    if spec is None or spec.loader is None:
        raise ImportError(f"{program} is no module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer = module.prepare()
    if _MAPPED.exists():
        pages = int(_MAPPED.read_text().split()[0])
        _bound(resource.RLIMIT_AS, pages * resource.getpagesize() + int(memory_bytes))
    # At the hard bound it is killed and nobody knows why: the soft one comes first.
    _bound(resource.RLIMIT_CPU, math.ceil(time.process_time()) + int(cpu_s), spare=1)
    _bound(resource.RLIMIT_FSIZE, int(written_bytes))
    _bound(resource.RLIMIT_CORE, 0)
    with open(answering, "wb") as file:
        file.write(answer(sys.stdin.buffer.read()))


def _bound(what: int, most: int, *, spare: int = 0) -> None:
    _, hard = resource.getrlimit(what)
    least = most + spare if hard == resource.RLIM_INFINITY else min(most + spare, hard)
    resource.setrlimit(what, (min(most, least), least))


if __name__ == "__main__":
    _answer()
