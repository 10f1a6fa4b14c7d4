"""The watchdog: a process whose device or loop stands still ends itself, to be started again.

*shell*: owns one task and the interpreter's own dead-man timer, a thread in C that needs no lock of
Python's. Promises that work which has the device for longer than it may ends the process. So does a
loop that does not turn for `loop_hang_s`. Each leaves the stack of every thread on stderr. A thread
that hangs in a driver cannot be stopped; only a new process helps. What was in hand is lost with
the connection, and the sidecar gives it back to the queue.
"""

import asyncio
import faulthandler
import logging
import os
from typing import Final

from sie_server.device.bounded_threads import BoundedThreads

__all__ = ["Watchdog"]

_LOG: Final = logging.getLogger(__name__)
_LOOK_S_MAX: Final = 2.0
"""A hang is found within it of its time, and a look costs microseconds."""
_LOOKS: Final = 4
"""So often within the time that the loop may stand: arming the timer anew begins a thread in C."""
_HUNG: Final = 70
"""Exit status of a process that found itself hanging (EX_SOFTWARE)."""


class Watchdog:
    """Looks after the threads of one device. `loop_hang_s` 0 leaves the loop alone."""

    def __init__(self, *threads: BoundedThreads, loop_hang_s: float) -> None:
        self._threads = threads
        self._loop_hang_s = loop_hang_s
        self._look_s = min(_LOOK_S_MAX, loop_hang_s / _LOOKS or _LOOK_S_MAX)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                if self._loop_hang_s:
                    # Its timer runs in C, and goes off when this loop stands and cannot look.
                    faulthandler.dump_traceback_later(self._loop_hang_s, exit=True)
                late_s = max(each.overdue_s() for each in self._threads)
                if late_s > 0:
                    self._end(late_s)
                await asyncio.sleep(self._look_s)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _end(self, late_s: float) -> None:
        _LOG.critical(
            "the device hangs: its work is %.1f s over its time; this process ends, to be started "
            "again (see where each thread was below)",
            late_s,
        )
        faulthandler.dump_traceback(all_threads=True)
        logging.shutdown()
        # An ordinary exit would wait for the thread that hangs.
        os._exit(_HUNG)
