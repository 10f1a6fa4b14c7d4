"""Deaths: gives the jobs of dead workers back to the queue, as soon as it is known.

*shell.* One loop. A worker that fell silent, left, or whose name another process speaks under is
asked; `lives` says what the answers mean, `giving_back` which jobs go. Promises that a job is given
back only after every living worker of its kind has said that it does not hold it. The order of
questions leaves no gap: first how far the queue has handed out, then who holds what, then the word.
A result that comes late is as good as any: the first one of a job is its answer.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sie_gateway import metrics
from sie_gateway.fleet.holders import Holders, Unheard
from sie_gateway.fleet.lives import Life, Lives
from sie_gateway.request.giving_back import Limits, Out, Why, due, went
from sie_gateway.request.runs import Run
from sie_runtime.process.waiting import first_of
from sie_schemas.errors import SIEError
from sie_schemas.fleet import HandedOut, WorkerKind
from sie_schemas.jobs import consumer_name

__all__ = ["Deaths"]

_LOG: Final = logging.getLogger(__name__)
_IDLE_TIMES: Final = 4
"""So many times longer until the next look while nothing waits."""


@dataclass(frozen=True, slots=True)
class _Queue:
    """One consumer of a pool, and the jobs of this gateway that wait behind it."""

    consumer: str
    jobs: list[Out]


class Deaths:
    """See the module. `runs` gives those that wait, and `busy` is set while one does. `is_over` is
    told of each life that ended."""

    def __init__(
        self,
        lives: Lives,
        holders: Holders,
        *,
        runs: Callable[[], Collection[Run]],
        busy: asyncio.Event,
        is_over: Callable[[Life], None],
        limits: Limits,
        look_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._lives = lives
        self._holders = holders
        self._runs = runs
        self._busy = busy
        self._is_over = is_over
        self._limits = limits
        self._look_s = look_s
        self._clock = clock
        self._suspects: set[WorkerKind] = set()
        """Kinds of worker where a job waits for its turn."""
        self._stuck_at = float("-inf")
        """The last time that stuck lives were looked at: they may stay so for minutes."""

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`; seldom while there is no run."""
        while not stop.is_set():
            self._lives.forget_old(self._clock())
            if self._lives.can_judge(self._clock()):
                await self._ask_doubtful()
                for kind, why in self._kinds().items():
                    await self._settle(kind, why)
            await first_of(stop.wait(), timeout_s=self._look_s)
            if not self._busy.is_set():
                await first_of(stop.wait(), self._busy.wait(), timeout_s=_IDLE_TIMES * self._look_s)

    async def _ask_doubtful(self) -> None:
        doubtful = self._lives.doubtful(self._clock())
        answers = await asyncio.gather(*[self._holders.ask(life) for life in doubtful])
        for life, answer in zip(doubtful, answers, strict=True):
            if answer is Unheard.GONE:
                self._lives.not_there(life)
                self._is_over(life)
            elif answer is not Unheard.SILENT:
                self._lives.answered(life, self._clock())

    def _kinds(self) -> Mapping[WorkerKind, Why]:
        """The kinds of worker for which something is to be done; a death says more than a silence,
        and that more than nothing."""
        found: dict[WorkerKind, Why] = dict.fromkeys(self._suspects, "turn")
        now = self._clock()
        if now - self._stuck_at >= self._limits.pause_s / 3:
            self._stuck_at = now
            found |= {life.kind: "stuck" for life in self._lives.stuck(now)}
        found |= {life.kind: "over" for life in self._lives.over()}
        return found

    async def _settle(self, kind: WorkerKind, why: Why) -> None:
        """Give back what is due to one kind; where that cannot be known now, at the next look."""
        over = [life for life in self._lives.over() if life.kind == kind]
        try:
            done = await self._give_back(kind, why)
        except SIEError as error:
            _LOG.info("jobs of a dead worker are not given back yet: %s", error.message)
            return
        if done:
            for life in over:
                self._lives.forget(life)

    async def _give_back(self, kind: WorkerKind, why: Why) -> bool:
        """Give back the jobs of one kind; true if it is known who holds what. Raises `SIEError`."""
        queues = self._queues(kind)
        # Any worker of the pool: the one that died may have been the last of its kind.
        speaker = next(iter(self._lives.speakers(kind.pool, self._clock())), None)
        if speaker is None:
            return not queues
        has_suspects = False
        for queue in queues:
            ended = self._lives.unsettled(kind, queue.consumer)
            if why == "over" and not ended:
                # Another queue's question was in vain; here each death has counted already.
                has_suspects |= self._has_suspects(queue)
                continue
            # First how far the queue has handed out, and only then who holds what: what is handed
            # out between the two is behind `last`, and stays.
            out = await self._holders.handed_out(speaker, queue.consumer)
            if out is None or not out.unacknowledged:
                continue
            living = self._lives.living(kind, self._clock())
            held = await self._holders.held(living, [job.job_id for job in queue.jobs])
            if held is None:
                return False
            found = due(
                queue.jobs,
                held=held,
                last=out.last,
                why=why,
                limits=self._limits,
                now=self._clock(),
            )
            has_suspects |= self._has_suspects(queue)
            await self._hand_out_again(speaker, queue, found, out, why)
            for life in ended:
                self._lives.settle(life, queue.consumer)
        # Only now: where a question was in vain, those that wait for their turn still have it.
        if has_suspects:
            self._suspects.add(kind)
        else:
            self._suspects.discard(kind)
        return True

    def _has_suspects(self, queue: _Queue) -> bool:
        return any(job.given.deaths >= self._limits.suspect_after for job in queue.jobs)

    async def _hand_out_again(
        self, speaker: Life, queue: _Queue, found: Collection[Out], out: HandedOut, why: Why
    ) -> None:
        if not found:
            return
        sequences = [job.sequence for job in found]
        # Said by a worker of the pool: whoever may acknowledge may also have the next job
        # delivered, and a gateway must not read every tenant's. The broker goes on counting
        # deliveries; a job stored anew would have begun at one.
        await self._holders.give_back(speaker, queue.consumer, sequences, out)
        went(found, why=why, limits=self._limits, now=self._clock())
        metrics.JOBS_GIVEN_BACK.labels(why).inc(len(found))
        _LOG.warning(
            "%d jobs that a worker held are given back: %s (%s)",
            len(found),
            {"over": "it died", "stuck": "it does not answer", "turn": "one at a time"}[why],
            queue.consumer,
        )

    def _queues(self, kind: WorkerKind) -> list[_Queue]:
        """The jobs that wait for one kind, by consumer."""
        found: dict[str, _Queue] = {}
        for run in self._runs():
            if run.route.kind != kind:
                continue
            _, machine_profile, bundle = kind
            consumer = consumer_name(machine_profile, bundle, run.route.model.model_id)
            queue = found.setdefault(consumer, _Queue(consumer, []))
            queue.jobs.extend(run.out())
        return [queue for queue in found.values() if queue.jobs]
