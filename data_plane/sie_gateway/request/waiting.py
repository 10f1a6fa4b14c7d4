"""Waiting: one request, from the moment it was taken on until it has its answer.

*shell* over the future of the run that is under way. Promises that the first word counts, whether
it is the last result, an error of the broker, the deadline, or the client's leaving. An end that
came between two runs ends the next one at once. Owner: the task of the request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from sie_schemas.jobs import JobResult

__all__ = ["ClientGone", "Takerless", "UntilGone", "Waiting", "heard"]

UntilGone = Callable[[], Awaitable[None]]
"""Waits until the client has left."""


class ClientGone(Exception):
    """The client closed the connection: nobody reads an answer any more."""


class Takerless(Exception):
    """The jobs of a run lie where no worker takes them any more, and none has them in hand."""


class Waiting:
    """The results that came, and the future that gets them all. `ends_at`, after `timeout_s`, is
    on the clock of the loop.

    What the broker says of a job (`heard`) only counts where it says no: a result says more than
    that the job was stored. It counts for the attempt whose job it was, and for none after that.
    """

    __slots__ = (
        "_complete",
        "_over",
        "_results",
        "_until_gone",
        "_wanted",
        "_watcher",
        "ends_at",
        "loop",
        "timeout_s",
        "trace",
    )

    def __init__(
        self, timeout_s: float, until_gone: UntilGone | None = None, trace: str = ""
    ) -> None:
        self.trace = trace
        """The `traceparent` that its jobs carry; empty where it is not traced."""
        self.loop = loop = asyncio.get_running_loop()
        self.timeout_s = timeout_s
        self.ends_at = loop.time() + timeout_s
        self._until_gone = until_gone
        self._watcher: asyncio.Task[None] | None = None
        self._over: Exception | None = None
        """The end of the wait for every run: the deadline, or that the client left."""
        self._complete: asyncio.Future[list[JobResult]] | None = None
        self._wanted: Sequence[str] = ()
        self._results: dict[str, JobResult] = {}

    def begin(self, job_ids: Sequence[str]) -> "asyncio.Future[list[JobResult]]":
        """A run of these jobs begins: what gets its results, in the order of the jobs.

        Raises what has ended the wait meanwhile: `TimeoutError`, `ClientGone`.
        """
        # Results of the run before are of another revision, where the model changed meanwhile.
        self._wanted = job_ids
        self._results = {}
        return self._renewed()

    def again(self) -> "asyncio.Future[list[JobResult]]":
        """Wait on, after the broker said no; what came meanwhile counts. Raises as `begin`."""
        # The last result may have come before the broker's no: then nothing else ends the wait.
        complete = self._renewed()
        self._look()
        return complete

    def _renewed(self) -> "asyncio.Future[list[JobResult]]":
        # An end between two runs is told to no future. It was missed, and the request of a client
        # that had left was computed to its end.
        if self._over is not None:
            raise self._over
        if self._complete is not None:
            self._leave()
        self._complete = self.loop.create_future()
        return self._complete

    async def pause(self, change: Coroutine[Any, Any, object], *, timeout_s: float) -> None:
        """Wait for a change while nothing runs. Raises as `begin`."""
        over = self._renewed()
        changed = self.loop.create_task(change)
        try:
            await asyncio.wait(
                (over, changed), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            changed.cancel()
        # A cold request pauses for most of its life: its client leaves here more than anywhere.
        if over.done():
            over.result()

    def take(self, result: JobResult) -> None:
        """The first result of a job counts; a redelivered job may bring another."""
        # Another run's answer may be of another moment: half of each is an answer of neither.
        self._results.setdefault(result.job_id, result)
        self._look()

    def _look(self) -> None:
        complete = self._complete
        if complete is None or len(self._results) < len(self._wanted) or complete.done():
            return
        # In the order of the jobs, which is that of the texts. By name the tenth part of an answer
        # stood before the second, and vectors belonged to other texts.
        complete.set_result([self._results[job_id] for job_id in self._wanted])

    def lacks(self, job_id: str) -> bool:
        """True if a job of the run has no result yet."""
        return job_id not in self._results

    def turn_away(self) -> None:
        """Nobody will take the jobs of this run: another one may find a place for them."""
        if self._complete is not None:
            heard(self._complete, Takerless())

    def expire(self) -> None:
        """The time is over."""
        self._end(TimeoutError())

    def attend(self) -> None:
        """It takes long: from now on notice when the client leaves."""
        if self._until_gone is not None:
            noticing = self._notice(self._until_gone)
            self._watcher = self.loop.create_task(noticing)

    def close(self) -> None:
        """Nobody waits any more."""
        if self._watcher is not None:
            self._watcher.cancel()
        self._leave()

    def _leave(self) -> None:
        """An error that came meanwhile is nobody's."""
        # Where it is done, this too takes back that asyncio reports an error that nobody fetched.
        if self._complete is not None:
            self._complete.cancel()

    async def _notice(self, until_gone: UntilGone) -> None:
        await until_gone()
        self._end(ClientGone())

    def _end(self, error: Exception) -> None:
        """For every run. What ended it first is what it is told."""
        # What came first is the cause: a client that left was told of as one that ran out of time.
        if self._over is not None:
            return
        self._over = error
        if self._complete is not None:
            heard(self._complete, error)


def heard(complete: "asyncio.Future[list[JobResult]]", error: Exception | None) -> None:
    """A word against the run that fills `complete`, if it is one; a run that is over hears none."""
    if error is not None and not complete.done():
        complete.set_exception(error)
