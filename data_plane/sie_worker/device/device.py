"""The device loop: takes the next batch, has it run, and gives each job its answers.

*shell*: owns one device's scheduler and decides nothing itself: `batching` says what runs and when.
Hands a batch over while the one before it still runs: the device never waits for the next one.
Models that are not loaded and whose inputs wait are loaded meanwhile, as `loading` says. A batch
that fails is split until the bad input fails alone (`isolation`). What is left of it after so many
runs waits its turn again. A batch that is lost with the execution process goes back to the queue.
What no batch has yet waits for the process to come back, for `grace_s`, or `handover_s` where
others can run it. Then it goes back to the queue.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Container, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass

from sie_core.resolver import ResolvedModel
from sie_schemas.errors import Later, SIEError
from sie_schemas.ipc import Hello
from sie_worker import metrics
from sie_worker.device.batch_counts import count_begun, lane_series_of
from sie_worker.device.batch_runs import BatchRun, Work, holds_of
from sie_worker.device.isolation import run_isolated
from sie_worker.execution.executor import Executor, ExecutorLost
from sie_worker.execution.loading import LoadTurns
from sie_worker.execution.models import LoadedModel, Models
from sie_worker.jobs.holds import Hold, Holds
from sie_worker.jobs.results import Results
from sie_worker.scheduling.batching import Scheduler
from sie_worker.scheduling.lanes import Batch, Lane, QueuedInput

__all__ = ["Device", "DeviceLimits"]


@dataclass(frozen=True, kw_only=True)
class DeviceLimits:
    """Bounds of the device loop; see the settings of the same names."""

    grace_s: float
    handover_s: float
    tick_s: float
    retry_delay_s: float
    load_share: float
    isolation_passes_max: int


class Device:
    """One execution process, seen as a place where batches run."""

    def __init__(
        self,
        *,
        name: str,
        executor: Executor,
        models: Models,
        scheduler: Scheduler,
        holds: Holds,
        results: Results,
        limits: DeviceLimits,
        clock: Callable[[], float],
        drop_holds: Callable[[Collection[int]], None],
        has_peers: Callable[[], bool],
        cancelled: Container[str],
    ) -> None:
        self._executor = executor
        self.models = models
        self.scheduler = scheduler
        self._holds = holds
        self._results = results
        self.batches_begun = 0
        self.fill_begun = 0.0
        """Sum of the shares of their budgets that those used."""
        self._limits = limits
        self._clock = clock
        self._drop_holds = drop_holds
        """Drops what waits of holds here and at the other devices."""
        self._has_peers = has_peers
        self._cancelled = cancelled
        """The ids of requests whose clients have left."""
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost_at: float | None = None
        self._loads = LoadTurns(share=limits.load_share)
        metrics.ITEMS_WAITING.labels(name).set_function(lambda: scheduler.waiting)
        metrics.OLDEST_AGE.labels(name).set_function(lambda: scheduler.oldest_age(clock()))

    @property
    def connected(self) -> bool:
        """True if it can be given work."""
        return self._executor.connected

    @property
    def hello(self) -> Hello | None:
        """The word of its execution process on itself; None while it is away."""
        return self._executor.hello

    @property
    def trouble(self) -> str:
        """In words: why it can be given no work, or that it is silent; empty where all is well."""
        return self._executor.trouble

    @property
    def load(self) -> int:
        """Cost of what waits for it and of what it runs."""
        return self.scheduler.cost_in_hand

    async def wait_connected(self) -> None:
        """Return once it can be given work, or its grace has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s()):
                await self._executor.wait_connected()

    def add(
        self, lane: Lane, model: LoadedModel, inputs: Collection[QueuedInput], *, now: float
    ) -> None:
        """Have inputs of one job run here, once their model is loaded."""
        self.scheduler.add(lane, model.limits, inputs, now=now)
        self.wake()

    def wake(self) -> None:
        """Something changed: inputs came, a batch ended, the process came or went."""
        self._woken.set()

    def cancel(self, request_id: str) -> None:
        """Drop what waits of a request whose client left."""
        self._drop(self.scheduler.cancel(request_id))

    async def run(self, stop: asyncio.Event) -> None:
        """Run batches until `stop`; those that run then are finished first."""
        # Asked once: up to Python 3.11 each time takes a call into the system.
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self._woken.clear()
                self._drop(self.scheduler.expire(self._clock()))
                absent = self.scheduler.revisions() - self.models.revisions
                batch = self._next_batch(group, absent)
                if batch is not None:
                    group.create_task(self._run(batch))
                if absent and self._executor.connected:
                    self._load_next(group, absent)
                if batch is None:
                    await self._sleep(absent)

    def _load_next(self, group: asyncio.TaskGroup, absent: Set[str]) -> None:
        now = self._clock()
        waiting = self.scheduler.oldest_by_revision()
        revision = self._loads.pick(
            now,
            waiting,
            absent=absent,
            idle=not self.scheduler.batches_out and waiting.keys() == absent,
            fitting={each for each in absent if self.models.fits(each)},
        )
        if revision is not None:
            self._loads.began(now)
            group.create_task(self._load(revision))

    async def _load(self, revision: str) -> None:
        waiting = self.scheduler.waiting_for(revision)
        held = self._holds_of(waiting)
        model = next((hold.model for hold in held if hold.model is not None), None)
        try:
            if model is None:
                # Settled meanwhile: nobody waits for these.
                self._drop_holds({item.hold for item in waiting})
            else:
                await self._ensure_model(model.resolved)
        except ExecutorLost:
            # What waits for the process to come back waits on.
            pass
        except SIEError as error:
            await self._settle_lost(self._holds_of(self.scheduler.waiting_for(revision)), error)
        finally:
            self._loads.ended(revision, self._clock())
            self.wake()

    def _next_batch(self, group: asyncio.TaskGroup, absent: Container[str]) -> Batch | None:
        now = self._clock()
        if self._executor.connected:
            self._lost_at = None
            return self.scheduler.next_batch(now, absent=absent)
        if self._lost_at is None:
            self._lost_at = now
        elif now - self._lost_at >= self._grace_s():
            waiting = self._holds_numbered(self.scheduler.holds())
            error = Later("model execution does not come back", code="NOT_READY")
            group.create_task(self._give_back(waiting, error, blamed=False))
            self._lost_at = now
        return None

    def _grace_s(self) -> float:
        limits = self._limits
        return min(limits.grace_s, limits.handover_s) if self._has_peers() else limits.grace_s

    async def _sleep(self, absent: Collection[str]) -> None:
        if not self.scheduler.revisions():
            # Nothing can pass its deadline here, or wait for the process to come back.
            await self._woken.wait()
            return
        now, wait_s = self._clock(), self._limits.tick_s
        if self._executor.connected:
            batch_due = self.scheduler.wait_until(now, absent=absent)
            load_due = self._loads.due(now) if absent else None
            wait_s = min([wait_s, *(due - now for due in (batch_due, load_due) if due is not None)])
        # A timer that wakes costs a fifth of a timeout that cancels.
        assert self._loop is not None, "it sleeps where it runs"
        timer = self._loop.call_later(wait_s, self._woken.set)
        await self._woken.wait()
        timer.cancel()

    async def _run(self, batch: Batch) -> None:
        work = [
            (item, hold)
            for item in batch.inputs
            if (hold := self._holds.get(item.hold)) is not None
        ]
        started = time.perf_counter()
        error: SIEError | None = None
        outcomes: list[bytes | SIEError] = []
        left: list[list[QueuedInput]] = []
        try:
            if work:
                count_begun(batch, work[0][1], self._clock())
                self.batches_begun += 1
                self.fill_begun += batch.fill
                run = self._batch_run(batch)
                passes_max = self._limits.isolation_passes_max
                outcomes, parts = await run_isolated(run.run, work, passes_max=passes_max)
                left = [[item for item, _ in part] for part in parts]
        except SIEError as failure:
            error = failure
        finally:
            answered = any(type(each) is bytes for each in outcomes)
            self.scheduler.finished(batch, self._clock(), answered=answered, left=left)
            self._woken.set()
        if error is not None:
            await self._settle_lost(holds_of(work), error)
        elif work:
            took_s = time.perf_counter() - started
            metrics.BATCH_SECONDS.observe(took_s)
            lane_series_of(batch.lane, work[0][1]).batch_seconds.observe(took_s)
            await self._answer(work[: len(outcomes)], outcomes, took_s * 1000)

    def _batch_run(self, batch: Batch) -> BatchRun:
        return BatchRun(
            batch,
            self._executor,
            self.models,
            ensure_model=self._ensure_model,
            drop_unwanted=self._drop_unwanted,
            clock=self._clock,
        )

    def _drop_unwanted(self, holds: Sequence[Hold]) -> dict[Hold, SIEError]:
        """Forget the jobs that nobody waits for by now; what is told of each of them."""
        now = self._clock()
        unwanted = [
            hold
            for hold in holds
            if hold.is_ending or hold.deadline <= now or hold.job.request_id in self._cancelled
        ]
        if unwanted:
            self._drop_holds({hold.number for hold in unwanted})
            self._results.drop(unwanted)
        return {hold: Later("nobody waits for it", code="NOT_READY") for hold in unwanted}

    async def _ensure_model(self, resolved: ResolvedModel) -> LoadedModel:
        return await self.models.ensure(resolved, running=self.scheduler.revisions_out)

    async def _answer(
        self, work: Sequence[Work], outcomes: Sequence[bytes | SIEError], took_ms: float
    ) -> None:
        """Give each job its answers, and deliver those that are complete."""
        # Room is there as soon as the device is done, not only once a gateway has confirmed.
        self._holds.settle_items(
            (hold, item.index, outcome)
            for (item, hold), outcome in zip(work, outcomes, strict=True)
        )
        holds = holds_of(work)
        for hold in holds:
            hold.inference_ms += took_ms
        await self._results.deliver([hold for hold in holds if hold.is_complete])

    async def _settle_lost(self, holds: Sequence[Hold], error: SIEError) -> None:
        """A whole batch has no outcome: give its jobs back, or fail them."""
        if isinstance(error, ExecutorLost):
            await self._give_back(holds, error, blamed=True)
            return
        self._drop_holds({hold.number for hold in holds})
        await self._results.fail(holds, error)

    async def _give_back(self, holds: Sequence[Hold], error: SIEError, *, blamed: bool) -> None:
        self._drop_holds({hold.number for hold in holds})
        await self._results.give_back(
            holds, error, delay_s=self._limits.retry_delay_s, blamed=blamed
        )

    def _drop(self, inputs: Sequence[QueuedInput]) -> None:
        """Nobody waits for these: forget the rest of their jobs too."""
        if inputs:
            holds = self._holds_of(inputs)
            self._drop_holds({hold.number for hold in holds})
            self._results.drop(holds)

    def _holds_of(self, inputs: Iterable[QueuedInput]) -> list[Hold]:
        return self._holds_numbered(dict.fromkeys(item.hold for item in inputs))

    def _holds_numbered(self, numbers: Iterable[int]) -> list[Hold]:
        return [hold for number in numbers if (hold := self._holds.get(number)) is not None]
