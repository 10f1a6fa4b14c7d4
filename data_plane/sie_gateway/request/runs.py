"""A run: the jobs of one request on one route, while they wait.

*shell* of one request. Owns what became of each job: the broker's word that it is stored, its
result, and how often it was given back. Owner: the task of the request.
"""

from collections.abc import Iterator, Sequence

from sie_gateway.fleet.routing import Route, Wanted
from sie_gateway.request.giving_back import GivenBack, Out
from sie_gateway.request.waiting import Waiting
from sie_runtime.streams.redelivery import sequence_of
from sie_schemas.jobs import Job

__all__ = ["Run"]


class Run:
    """`wanted` is what the request asked for, so that another route can be found for it."""

    __slots__ = ("_given", "_words", "jobs", "route", "waiting", "wanted")

    def __init__(
        self, route: Route, jobs: Sequence[Job], waiting: Waiting, wanted: Wanted | None = None
    ) -> None:
        self.route = route
        self.jobs = jobs
        self.waiting = waiting
        self.wanted = wanted
        self._words: list[tuple[str, bytes]] = []
        """The broker's word on each job that it has stored: read only where a worker has died."""
        self._given: dict[str, GivenBack] | None = None

    def stored(self, job_id: str, word: bytes) -> None:
        """The broker has stored a job."""
        self._words.append((job_id, word))

    def open_jobs(self) -> list[str]:
        """The jobs without a result."""
        return [job.job_id for job in self.jobs if self.waiting.lacks(job.job_id)]

    def out(self) -> Iterator[Out]:
        """The jobs without a result whose place in the stream is known."""
        if self._given is None:
            self._given = {}
        # A job that was sent twice lies where the last word says: a store may have been lost.
        for job_id, word in dict(self._words).items():
            if self.waiting.lacks(job_id):
                given = self._given.setdefault(job_id, GivenBack())
                yield Out(job_id, sequence_of(word), given)
