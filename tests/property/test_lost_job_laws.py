"""Laws of what a gateway stores again after a broker that began anew."""

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from sie_gateway.fleet.holders import Holders
from sie_gateway.request.lost_jobs import LostJobs
from sie_gateway.request.runs import Run
from sie_schemas.errors import Later
from sie_schemas.fleet import WorkerKind

JOBS = ("a", "b", "c", "d")
KIND = WorkerKind(pool="p", bundle="b", machine_profile="m")


class Fleet:
    """The runs that wait, what workers say that they hold at each look, and what was stored."""

    def __init__(
        self, runs: Sequence[Sequence[str]], looks: list[set[str] | None], fails: list[bool]
    ) -> None:
        self._looks = looks
        self._fails = fails
        self._held: frozenset[str] = frozenset()
        self.stored: Counter[str] = Counter()
        self._runs = [
            cast(Run, SimpleNamespace(route=SimpleNamespace(kind=KIND), open_jobs=lambda s=s: s))
            for s in runs
        ]

    def runs(self) -> Collection[Run]:
        """As a dispatcher."""
        return self._runs

    async def held(self, _living: Any, job_ids: Sequence[str]) -> frozenset[str] | None:
        """As `Holders`; nobody holds anything once all looks were had."""
        told = self._looks.pop(0) if self._looks else set()
        self._held = frozenset(told or ()) & set(job_ids)
        return None if told is None else self._held

    async def send_again(self, run: Run, held: Collection[str]) -> int:
        """As a dispatcher, whose broker may be away."""
        if self._fails and self._fails.pop(0):
            raise Later("the broker is away", code="QUEUE_UNAVAILABLE")
        sent = [job for job in run.open_jobs() if job not in held]
        assert self._held.isdisjoint(sent), "a worker holds it"
        self.stored.update(sent)
        return len(sent)


LOOKS = st.lists(st.none() | st.sets(st.sampled_from(JOBS)), max_size=6)


@given(cut=st.integers(0, len(JOBS)), looks=LOOKS, fails=st.lists(st.booleans(), max_size=6))
def test_each_job_that_waits_is_stored_once_as_soon_as_nobody_holds_it(cut, looks, fails):
    """Of two runs, with workers that give jobs back, or say nothing, and a broker that goes."""
    fleet = Fleet([JOBS[:cut], JOBS[cut:]], list(looks), list(fails))

    async def restored() -> None:
        lost = LostJobs(fleet, cast(Holders, fleet), living=lambda _: (), pause_s=0.0)
        stop = asyncio.Event()
        running = asyncio.create_task(lost.run(stop))
        lost.suspect()
        # Far more turns than all looks take: what is stored twice is so by then too.
        for _ in range(500):
            await asyncio.sleep(0)
        stop.set()
        await running

    asyncio.run(restored())
    assert fleet.stored == Counter(JOBS)
