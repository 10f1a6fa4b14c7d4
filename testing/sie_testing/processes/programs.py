"""One program of a real cluster: started, killed, stopped, gone on, and started again.

*shell.* Owns the process and its log file. Knows since when the program has been disturbed, so that
whoever waited for it can tell its own patience from what was done to it.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["Program", "free_ports", "missing_programs", "program_path"]

_INFO: Final = ('"level": "info"', "[INF]", "NO ACCESS CONTROL")
_LINES_MAX: Final = 12
"""The end of a log holds the cause; all programs' together still fit a screen or two."""


def program_path(name: str) -> str:
    """A program beside this interpreter, or on PATH. Raises `FixRequest`."""
    found = _found(name)
    if found is None:
        raise FixRequest(f"{name} is not installed: pip install 'sie-cluster[local,testing]'")
    return found


def missing_programs(names: Sequence[str]) -> list[str]:
    """Those of these programs that are not installed."""
    return [name for name in names if _found(name) is None]


def _found(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def free_ports(count: int) -> list[int]:
    """So many ports of loopback that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Program:
    """See the module. Owner: the loop that starts it."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, *, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.argv: Final = tuple(argv)
        self.log = log
        self.deaths = 0
        """The number of times that it was killed or ended by itself."""
        self.answered = False
        """True if it has answered anything since its last start."""
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._paused_at: float | None = None
        self._paused_s = 0.0

    @property
    def running(self) -> bool:
        """True if there is a process, stopped or not."""
        return self._process is not None and self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        """The status with which its last life ended; None while it lives."""
        return self._process.returncode if self._process is not None else None

    @property
    def pid(self) -> int:
        """Its process id; 0 before the first start."""
        return self._process.pid if self._process is not None else 0

    def clock(self) -> float:
        """Seconds that go on only while it is not stopped."""
        now = time.monotonic()
        stopped = now - self._paused_at if self._paused_at is not None else 0.0
        return now - self._paused_s - stopped

    async def start(self) -> None:
        """Start it, unless it runs."""
        if self.running:
            return
        self.answered = False
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.argv,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def kill(self) -> None:
        """End it at once, stopped or not."""
        self.answered = False
        self.deaths += 1
        self._went_on()
        if self._process is not None and self.running:
            self._process.kill()
            await self._process.wait()

    async def stop(self, *, within_s: float = 60.0) -> None:
        """End it in order, as a platform does: SIGTERM, and SIGKILL after a while."""
        self.answered = False
        self.deaths += 1
        self._went_on()
        if self._process is None or not self.running:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(within_s):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    def pause(self) -> None:
        """SIGSTOP: it does nothing, and its connections stay open."""
        if self.running and self._paused_at is None:
            os.kill(self.pid, signal.SIGSTOP)
            self._paused_at = time.monotonic()

    def resume(self) -> None:
        """SIGCONT."""
        if self.running and self._paused_at is not None:
            os.kill(self.pid, signal.SIGCONT)
        self._went_on()

    def complaints(self) -> list[str]:
        """The last lines of its log that are more than information."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if not any(mark in line for mark in _INFO)][-_LINES_MAX:]

    def _went_on(self) -> None:
        if self._paused_at is not None:
            self._paused_s += time.monotonic() - self._paused_at
            self._paused_at = None
