"""Lost jobs: sends again what a broker that began anew may have lost.

*shell.* One loop, which looks after every new connection. The work streams are written without
waiting for the disk. A broker that is killed forgets the newest jobs, although it had said that
they were stored. Promises that each job whose answer is still waited for is stored once more,
unless a living worker says that it holds it. Then it is stored as soon as none does: a worker may
give back what the queue has forgotten. The broker takes a job that it still has for the same one.
Of a job that runs twice all the same, the first result is the answer.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final, Protocol

from sie_gateway import metrics
from sie_gateway.fleet.holders import Holders
from sie_gateway.fleet.lives import Life
from sie_gateway.request.runs import Run
from sie_schemas.errors import SIEError
from sie_schemas.fleet import WorkerKind

__all__ = ["LostJobs"]

_UNKNOWN_MAX_S: Final = 2.0
"""Workers connect anew as well: so long they are asked again before their silence is no reason to
wait. A job that runs twice costs less than a client that waits for one that is lost."""
_PAUSE_MAX_S: Final = 2.0
"""Between two looks at jobs that are held, which nearly always end by themselves."""


class Sender(Protocol):
    """The part of the dispatcher that is needed."""

    def runs(self) -> Collection[Run]:
        """Every run that waits."""
        ...

    async def send_again(self, run: Run, held: Collection[str]) -> int:
        """Store the open jobs of a run but those held; how many. Raises `SIEError`."""
        ...


class LostJobs:
    """`living` gives the workers of a kind that may hold jobs; `pause_s` lies between attempts."""

    def __init__(
        self,
        sender: Sender,
        holders: Holders,
        *,
        living: Callable[[WorkerKind], Collection[Life]],
        pause_s: float,
    ) -> None:
        self._sender = sender
        self._holders = holders
        self._living = living
        self._pause_s = pause_s
        self._suspected = asyncio.Event()

    def suspect(self) -> None:
        """The connection to the broker is new."""
        self._suspected.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send again, each time that it is suspected, until `stop`."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                suspected = asyncio.create_task(self._suspected.wait())
                await asyncio.wait({suspected, stopping}, return_when=asyncio.FIRST_COMPLETED)
                suspected.cancel()
                if not stop.is_set():
                    self._suspected.clear()
                    await self._restore(stop)
        finally:
            stopping.cancel()

    async def _restore(self, stop: asyncio.Event) -> None:
        """Until every run that waits now is stored again, or over, or the connection is new once
        more."""
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + _UNKNOWN_MAX_S
        left: dict[WorkerKind, list[Run]] = {}
        stored: set[str] = set()
        pause_s = self._pause_s
        for run in self._sender.runs():
            left.setdefault(run.route.kind, []).append(run)
        while left and not stop.is_set() and not self._suspected.is_set():
            for kind, runs in list(left.items()):
                left[kind] = await self._sent(kind, runs, stored, loop.time() < gives_up_at)
            left = {kind: runs for kind, runs in left.items() if runs}
            if left:
                await asyncio.sleep(pause_s)
                if loop.time() >= gives_up_at:
                    pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _sent(
        self, kind: WorkerKind, runs: list[Run], stored: set[str], ask_on: bool
    ) -> list[Run]:
        """Send what nobody holds and is not `stored` anew; the runs that are to be looked at
        again."""
        open_jobs = [job_id for run in runs for job_id in run.open_jobs()]
        if not open_jobs:
            return []
        # Asked before anything is sent: the message id holds back what the broker still has, and
        # only the worker knows what it has taken from a broker that forgot it.
        held = await self._holders.held(self._living(kind), open_jobs)
        if held is None and ask_on:
            return runs
        held = held or frozenset()
        sent = await asyncio.gather(*[self._send(run, held, stored) for run in runs])
        return [
            run
            for run, is_sent in zip(runs, sent, strict=True)
            if not is_sent or not held.isdisjoint(run.open_jobs())
        ]

    async def _send(self, run: Run, held: Collection[str], stored: set[str]) -> bool:
        wanted = [job_id for job_id in run.open_jobs() if job_id not in held]
        try:
            metrics.JOBS_SENT_AGAIN.inc(await self._sender.send_again(run, {*held, *stored}))
        except (SIEError, TimeoutError):
            return False
        stored.update(wanted)
        return True
