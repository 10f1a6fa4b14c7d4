"""A spawner: a process that has imported what others need, and makes them of itself by fork(2).

*shell.* Owns its stdin, its stdout and its children. A line of JSON on stdin asks for a process
(`Wanted`). Lines on stdout say what became of it: `Begun` or `NotBegun`, later `Ended`. A process
so made shares the memory of all imports with the others, and begins in milliseconds. Promises that
it is as one that was started alone: a session, arguments, environment and log file of its own. When
nobody can ask any more, the spawner waits for its children and ends.
"""

import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

__all__ = ["Begun", "Ended", "NotBegun", "Spawner", "Told", "Wanted"]

_STDIN: Final = 0
_READ_BYTES: Final = 65_536
"""The size of a pipe; a request that is longer is read in parts."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A process that is asked for; its output is added to the file `log`."""

    id: int
    argv: tuple[str, ...]
    environment: dict[str, str]
    log: str


class Begun(Struct, frozen=True, kw_only=True, tag=True):
    """The process that was asked for runs."""

    id: int
    pid: int


class NotBegun(Struct, frozen=True, kw_only=True, tag=True):
    """There is no such process; `why` is the system's word."""

    id: int
    why: str


class Ended(Struct, frozen=True, kw_only=True, tag=True):
    """A process is gone: its exit status, or the signal that ended it, negative."""

    pid: int
    status: int


Told: TypeAlias = Begun | NotBegun | Ended


class Spawner:
    """The loop of a spawner. Made before the imports, which may print."""

    def __init__(self) -> None:
        self._answers = os.dup(sys.stdout.fileno())
        # What an import prints is no answer.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._children = 0
        self._left = b""

    def serve(self) -> bool:
        """Make processes. True in each of them, False in the spawner once it is over.

        There are no threads when it is called: a fork would lose them, and keep their locks.
        """
        waking, woken = os.pipe()
        for each in (waking, woken):
            os.set_blocking(each, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken)
        heard = [_STDIN, waking]
        while _STDIN in heard or self._children:
            ready, _, _ = select.select(heard, [], [])
            if waking in ready:
                os.read(waking, _READ_BYTES)
                self._reap()
            if _STDIN in ready:
                told = os.read(_STDIN, _READ_BYTES)
                if not told:
                    heard.remove(_STDIN)
                if self._take(told):
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for each in (waking, woken, self._answers):
                        os.close(each)
                    return True
        return False

    def _take(self, told: bytes) -> bool:
        """Make what is asked for; True in a process that was made."""
        *lines, self._left = (self._left + told).split(b"\n")
        return any(self._make(msgspec.json.decode(line, type=Wanted)) for line in lines)

    def _make(self, wanted: Wanted) -> bool:
        try:
            log = os.open(wanted.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            gate, opens = os.pipe()
            try:
                pid = os.fork()
                if not pid:
                    _become(wanted, log, gate, opens)
                    return True
            except OSError:
                os.close(opens)
                raise
            finally:
                os.close(gate)
                os.close(log)
        except OSError as error:
            self._tell(NotBegun(id=wanted.id, why=str(error)))
            return False
        self._children += 1
        self._tell(Begun(id=wanted.id, pid=pid))
        # It may have been killed meanwhile.
        with suppress(BrokenPipeError):
            os.write(opens, b"1")
        os.close(opens)
        return False

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children -= 1
            self._tell(Ended(pid=pid, status=os.waitstatus_to_exitcode(status)))

    def _tell(self, told: Told) -> None:
        # Whoever asked may be gone; its processes are not.
        with suppress(BrokenPipeError):
            os.write(self._answers, msgspec.json.encode(told) + b"\n")


def _become(wanted: Wanted, log: int, gate: int, opens: int) -> None:
    """Be a process of one's own, in the place of the spawner that was forked, or end."""
    try:
        os.close(opens)
        if not os.read(gate, 1):
            # The spawner is gone before it told of this process: nobody could end it.
            os._exit(os.EX_OSERR)
        _take_place(wanted, log)
    except BaseException:
        # Whatever goes on from here would be a second spawner.
        with suppress(BaseException):
            traceback.print_exc()
        os._exit(os.EX_OSERR)


def _take_place(wanted: Wanted, log: int) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    os.environ.clear()
    os.environ.update(wanted.environment)
    sys.argv[:] = wanted.argv
