"""One process of the local cluster: started in a session of its own, watched, stopped.

*shell.* Owns the process and its log file. A session of its own keeps Ctrl-C in a terminal from
reaching it, so that the supervisor alone decides the order of the end. Promises that after `stop`
the process is gone. It decides nothing about starting again.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import httpx

from sie_cli.access.private_files import open_to_append
from sie_cli.access.state import ProcessRecord, record_process
from sie_cli.plan.listeners import holder, listens
from sie_cli.plan.plans import ChildPlan
from sie_cli.supervisor.spawners import Process, Spawners
from sie_schemas.errors import OurFault

__all__ = ["Child", "StartFailed", "set_aside", "tail"]

_PROBE_TIMEOUT_S: Final = 2.0
"""A process that computes answers late; one that hangs not at all."""
_LOG_BYTES_MAX: Final = 8 * 1024 * 1024
"""A log larger than this is set aside (`.1`) at the next start of the cluster."""
_TAIL_BYTES: Final = 64 * 1024
"""The lines that are shown are surely in it."""


class StartFailed(OurFault):
    """A process did not become ready; the message shows its role, its log's end and its path."""


class Child:
    """A process made from a plan, again and again. One task owns it."""

    def __init__(
        self,
        plan: ChildPlan,
        *,
        poll_s: float,
        log_tail_lines: int,
        spawners: Spawners | None = None,
    ) -> None:
        self.plan = plan
        self.restarts = 0
        self._spawners = spawners
        self._poll_s = poll_s
        self._log_tail_lines = log_tail_lines
        self.record = ProcessRecord(role=plan.role, pid=0, started="", log=str(plan.log))
        """Its entry in the cluster's record, made when it is started: pids are used again."""
        self._process: Process | None = None
        self._log_start = 0

    async def start(self) -> None:
        """Start the process; its output goes to the log file."""
        plan = self.plan
        log = open_to_append(plan.log)
        self._log_start = os.lseek(log, 0, os.SEEK_END)
        try:
            self._process = await self._begin(log)
        except OSError as error:
            raise StartFailed(f"{plan.role} could not be started: {error}") from error
        finally:
            os.close(log)
        self.record = record_process(
            plan.role, self._process.pid, plan.log, port=plan.port, restarts=self.restarts
        )

    async def _begin(self, log: int) -> Process:
        plan = self.plan
        if plan.spawner is not None and self._spawners is not None:
            return await self._spawners.make(plan, plan.spawner)
        return await asyncio.create_subprocess_exec(
            *plan.argv,
            env=dict(plan.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    async def wait_ready(self, *, within_s: float | None = None) -> None:
        """Wait until it is ready. Raises `StartFailed` when it ends or takes too long."""
        patience_s = self.plan.ready_s if within_s is None else within_s
        try:
            # Asked in plain HTTP: the authorities that TLS trusts would take 30 ms to read.
            async with asyncio.timeout(patience_s), httpx.AsyncClient(verify=False) as http:
                while True:
                    answered = await _answers(self.plan.ready_url, http)
                    if not self.running:
                        raise self.failure(f"ended with status {self.returncode} while starting")
                    # A stranger may answer at the port of one that is gone, or not there yet.
                    if answered and self._listens():
                        return
                    await asyncio.sleep(self._poll_s)
        except TimeoutError as error:
            # The time of one start, which lives that ended before have used up in part.
            raise self.failure(f"was not ready within {self.plan.ready_s:g} s") from error

    def _listens(self) -> bool:
        """False where it is known that another process is the one that answers."""
        port = httpx.URL(self.plan.ready_url).port
        if self._process is None or port is None:
            return True
        return listens(self._process.pid, port) is not False

    async def wait_gone(self) -> None:
        """Wait until the process has ended, for whatever reason."""
        if self._process is not None:
            await self._process.wait()

    @property
    def returncode(self) -> int | None:
        """The status with which it ended; None while it runs or before it was started."""
        return self._process.returncode if self._process is not None else None

    @property
    def running(self) -> bool:
        """True if there is a process that has not ended."""
        return self._process is not None and self._process.returncode is None

    async def stop(self, *, drain_s: float) -> bool:
        """End the process; True when it ended by itself in time, False when it was killed."""
        if self._process is None or not self.running:
            return True
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(drain_s):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
            return False
        return True

    def kill(self) -> None:
        """End the process and what it started, at once."""
        if self._process is not None and self.running:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                # One that was forked just now has no session of its own yet.
                self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        try:
            self._process.send_signal(number)
        except ProcessLookupError:
            return

    def failure(self, what: str) -> StartFailed:
        """The error for a start that failed, with what it wrote since."""
        lines = tail(self.plan.log, self._log_tail_lines, since=self._log_start)
        shown = "\n".join(f"    {line}" for line in lines) or "    (nothing was written)"
        return StartFailed(
            f"{self.plan.role} {what}{self._taken()}. The end of {self.plan.log}:\n{shown}"
        )

    def _taken(self) -> str:
        """Whoever has its port in its place, in words."""
        for port in (self.plan.port, httpx.URL(self.plan.ready_url).port):
            by = holder(port) if port else ""
            if by and not (self.running and self._listens()):
                return f"; port {port} is taken by {by}"
        return ""


async def _answers(url: str, http: httpx.AsyncClient) -> bool:
    # Most looks find nobody, and a request that finds nobody costs a millisecond: twenty a second
    # for each process were taken from those that start.
    if not await _listens(httpx.URL(url)):
        return False
    try:
        response = await http.get(url, timeout=_PROBE_TIMEOUT_S)
    except httpx.TransportError:
        return False
    return response.status_code == httpx.codes.OK


async def _listens(url: httpx.URL) -> bool:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(url.host, url.port)
    except OSError:
        return False
    writer.close()
    return True


def tail(path: Path, lines: int, *, since: int = 0) -> list[str]:
    """The last lines that a log file got after its byte `since`; none where there is no file."""
    try:
        with path.open("rb") as log:
            log.seek(max(since, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def set_aside(path: Path) -> None:
    """Move a log that has grown large out of the way, keeping one older file."""
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        os.replace(path, path.with_name(path.name + ".1"))
