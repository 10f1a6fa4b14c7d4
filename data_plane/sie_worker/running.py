"""The device loop: takes the next batch, has it run, and gives each job its answers.

*shell*: owns one device's scheduler and decides nothing itself: `batching` says what runs and when.
Hands a batch over while the one before it still runs: the device never waits for the next one.
Models that are not loaded and whose inputs wait are loaded meanwhile, as `loading` says.
A batch that fails is split until the bad input fails alone (`isolation`); a batch that is lost with
the execution process goes back to the queue. What no batch has yet waits for the process to come
back, for `grace_s`, and goes back to the queue then.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

import msgspec

from sie_core.models import ResolvedModel
from sie_schemas.errors import Later, SIEError
from sie_schemas.items import Item
from sie_schemas.jobs import AdapterPin
from sie_worker import metrics
from sie_worker.answers import public_answers
from sie_worker.batching import Scheduler
from sie_worker.claims import Claim, Claims
from sie_worker.executor import Executor, ExecutorLost
from sie_worker.isolation import run_isolated
from sie_worker.lanes import Batch, Lane, QueuedInput
from sie_worker.loading import LoadTurns
from sie_worker.models import LoadedModel, Models
from sie_worker.results import Results

__all__ = ["Device", "DeviceLimits"]

_NOT_LOADED: Final = frozenset(
    {"MODEL_LOADING", "LORA_LOADING", "MODEL_NOT_FOUND", "ADAPTER_NOT_FOUND"}
)
"""Codes by which model execution says that it evicted what it is asked to run."""
_EVICTED_MAX: Final = 3
"""How often in a row a batch may find that its model left as it was handed over."""
_NOBODY: Final = Item()
"""Stands for the item of a job that was settled while its batch ran."""


@dataclass(frozen=True, kw_only=True)
class DeviceLimits:
    """Bounds of the device loop; see the settings of the same names."""

    grace_s: float
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
        claims: Claims,
        results: Results,
        limits: DeviceLimits,
        clock: Callable[[], float],
        settled: Callable[[], None],
        drop_claims: Callable[[Collection[int]], None],
    ) -> None:
        self._name = name
        self._executor = executor
        self.models = models
        self.scheduler = scheduler
        self._claims = claims
        self._results = results
        self._limits = limits
        self._clock = clock
        self._settled = settled
        """Called after claims were settled: there is room for more."""
        self._drop_claims = drop_claims
        """Drops what waits of claims here and at the other devices."""
        self._woken = asyncio.Event()
        self._lost_at: float | None = None
        self._loads = LoadTurns(share=limits.load_share)

    @property
    def connected(self) -> bool:
        """Whether it can be given work."""
        return self._executor.connected

    @property
    def last_loss(self) -> str:
        """Why its last connection ended."""
        return self._executor.last_loss

    @property
    def load(self) -> int:
        """Cost of what waits for it and of what it runs."""
        return self.scheduler.cost_in_hand

    def add(
        self, lane: Lane, model: LoadedModel, inputs: Collection[QueuedInput], *, now: float
    ) -> None:
        """Have inputs of one job run here, once their model is loaded."""
        self.scheduler.add(lane, model.limits, inputs, now=now)
        self.wake()

    def wake(self) -> None:
        """Something changed: inputs came, a batch ended, the process came or went."""
        self._woken.set()

    async def cancel(self, request_id: str) -> None:
        """Drop what waits of a request whose client left."""
        await self._drop(self.scheduler.cancel(request_id))

    async def run(self, stop: asyncio.Event) -> None:
        """Run batches until `stop`; those that run then are finished first."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self._woken.clear()
                expired = self.scheduler.expire(self._clock())
                if expired:
                    group.create_task(self._drop(expired))
                age = self.scheduler.oldest_age(self._clock())
                metrics.ITEMS_WAITING.labels(self._name).set(self.scheduler.waiting)
                metrics.OLDEST_AGE.labels(self._name).set(age)
                waiting = self.scheduler.revisions()
                absent = waiting.keys() - self.models.revisions
                batch = self._next_batch(group, absent)
                if batch is not None:
                    group.create_task(self._run(batch, group))
                if absent and self._executor.connected:
                    self._load_next(group, waiting, absent)
                if batch is None:
                    await self._sleep(absent)

    def _load_next(
        self, group: asyncio.TaskGroup, waiting: Mapping[str, float], absent: Set[str]
    ) -> None:
        now = self._clock()
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
        claims = self._claims_of(waiting)
        model = next((claim.model for claim in claims if claim.model is not None), None)
        try:
            if model is None:
                # Settled meanwhile: nobody waits for these.
                self._drop_claims({item.claim for item in waiting})
            else:
                await self._ensure_model(model.resolved)
        except ExecutorLost:
            # What waits for the process to come back waits on.
            pass
        except SIEError as error:
            await self._settle_lost(self.scheduler.waiting_for(revision), error)
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
        elif now - self._lost_at >= self._limits.grace_s:
            waiting = self._claims_numbered(self.scheduler.claims())
            error = Later("model execution does not come back", code="NOT_READY")
            group.create_task(self._give_back(waiting, error, blamed=False))
            self._lost_at = now
        return None

    async def _sleep(self, absent: Collection[str]) -> None:
        now = self._clock()
        wait_s = self._limits.tick_s
        if self._executor.connected:
            batch_due = self.scheduler.wait_until(now, absent=absent)
            load_due = self._loads.due(now) if absent else None
            wait_s = min([wait_s, *(due - now for due in (batch_due, load_due) if due is not None)])
        # A timer that wakes costs a fifth of a timeout that cancels.
        timer = asyncio.get_running_loop().call_later(wait_s, self._woken.set)
        await self._woken.wait()
        timer.cancel()

    async def _run(self, batch: Batch, group: asyncio.TaskGroup) -> None:
        inputs = [item for item in batch.inputs if self._claims.get(item.claim) is not None]
        started = time.perf_counter()
        error: SIEError | None = None
        outcomes: list[bytes | SIEError] = []
        try:
            if inputs:
                self._count(batch, self._clock())
                outcomes = await self._run_loaded(batch, inputs)
        except SIEError as failure:
            error = failure
        finally:
            self.scheduler.finished(batch, self._clock(), answered=bool(outcomes))
            self._woken.set()
        if error is not None:
            await self._settle_lost(inputs, error)
        else:
            took_s = time.perf_counter() - started
            metrics.BATCH_SECONDS.observe(took_s)
            self._distribute(inputs, outcomes, took_s * 1000, group)

    async def _run_loaded(
        self, batch: Batch, inputs: Sequence[QueuedInput]
    ) -> list[bytes | SIEError]:
        """Run, with what was evicted meanwhile loaded once more."""
        for _ in range(_EVICTED_MAX):
            try:
                return await self._run_once(batch, inputs)
            except SIEError as error:
                if error.code not in _NOT_LOADED:
                    raise
                self.models.forget(batch.lane.model_revision)
        return await self._run_once(batch, inputs)

    async def _run_once(
        self, batch: Batch, inputs: Sequence[QueuedInput]
    ) -> list[bytes | SIEError]:
        refused = await self._ensure(inputs)
        runnable = [item for item in inputs if item.claim not in refused]
        if not runnable:
            raise refused[inputs[0].claim]
        answers = iter(await self._run_isolated(batch, runnable))
        return [refused.get(item.claim) or next(answers) for item in inputs]

    async def _ensure(self, inputs: Sequence[QueuedInput]) -> dict[int, SIEError]:
        """Have the model and every adapter loaded; gives the claims whose adapter is refused.

        One adapter that cannot be loaded fails its own jobs, not those that share its batch.
        """
        claims = self._claims_of(inputs)
        if not claims or claims[0].model is None:
            raise ExecutorLost("the batch's jobs were given back")
        model = await self._ensure_model(claims[0].model.resolved)
        refused: dict[int, SIEError] = {}
        for claim in claims:
            if claim.job.adapter is None or claim.adapter is None:
                continue
            try:
                await self.models.ensure_adapter(model, claim.job.adapter, claim.adapter)
            except Later:
                raise
            except SIEError as error:
                refused[claim.number] = error
        return refused

    async def _ensure_model(self, resolved: ResolvedModel) -> LoadedModel:
        return await self.models.ensure(resolved, running=self.scheduler.revisions_out)

    async def _run_isolated(
        self, batch: Batch, inputs: Sequence[QueuedInput]
    ) -> list[bytes | SIEError]:
        async def run(part: Sequence[QueuedInput]) -> list[bytes | SIEError]:
            return await self._run_part(batch, part)

        return await run_isolated(run, inputs, passes_max=self._limits.isolation_passes_max)

    async def _run_part(self, batch: Batch, part: Sequence[QueuedInput]) -> list[bytes | SIEError]:
        lane = batch.lane
        claims = [self._claims.get(item.claim) for item in part]
        for claim in claims:
            if claim is not None:
                claim.started()
        done = await self._executor.run_batch(
            model_revision=lane.model_revision,
            operation=lane.operation,
            adapter=lane.adapter,
            adapters=_adapters(lane, claims),
            inputs=tuple(item.payload for item in part),
            outputs=lane.outputs,
            labels=lane.labels,
            options=msgspec.json.decode(lane.options) if lane.options else {},
        )
        jobs = [claim.job if claim is not None else None for claim in claims]
        return public_answers(
            done.answers,
            [
                job.items[item.index] if job else _NOBODY
                for job, item in zip(jobs, part, strict=True)
            ],
            [job.output_dtype if job else "float32" for job in jobs],
        )

    def _distribute(
        self,
        inputs: Sequence[QueuedInput],
        outcomes: Sequence[bytes | SIEError],
        took_ms: float,
        group: asyncio.TaskGroup,
    ) -> None:
        touched: dict[int, Claim] = {}
        for item, outcome in zip(inputs, outcomes, strict=True):
            claim = self._claims.get(item.claim)
            if claim is not None:
                touched[item.claim] = claim
                self._claims.settle_item(claim, item.index, outcome)
        for claim in touched.values():
            claim.inference_ms += took_ms
        complete = [claim for claim in touched.values() if claim.is_complete]
        if complete:
            group.create_task(self._deliver(complete))

    async def _deliver(self, claims: Sequence[Claim]) -> None:
        # Room is there as soon as the device is done, not only once a gateway has confirmed.
        self._settled()
        await self._results.deliver(claims)
        self._settled()

    async def _settle_lost(self, inputs: Iterable[QueuedInput], error: SIEError) -> None:
        """A whole batch has no outcome: give its jobs back, or fail them."""
        claims = self._claims_of(inputs)
        if isinstance(error, ExecutorLost):
            await self._give_back(claims, error, blamed=True)
            return
        self._drop_claims({claim.number for claim in claims})
        await self._results.fail(claims, error)
        self._settled()

    async def _give_back(self, claims: Sequence[Claim], error: SIEError, *, blamed: bool) -> None:
        self._drop_claims({claim.number for claim in claims})
        await self._results.give_back(
            claims, error, delay_s=self._limits.retry_delay_s, blamed=blamed
        )
        self._settled()

    async def _drop(self, inputs: Iterable[QueuedInput]) -> None:
        """Nobody waits for these: forget the rest of their jobs too."""
        claims = self._claims_of(inputs)
        self._drop_claims({claim.number for claim in claims})
        for claim in claims:
            await self._results.drop(claim)
        self._settled()

    def _claims_of(self, inputs: Iterable[QueuedInput]) -> list[Claim]:
        return self._claims_numbered(dict.fromkeys(item.claim for item in inputs))

    def _claims_numbered(self, numbers: Iterable[int]) -> list[Claim]:
        return [claim for number in numbers if (claim := self._claims.get(number)) is not None]

    def _count(self, batch: Batch, now: float) -> None:
        metrics.BATCHES.inc()
        metrics.BATCH_ITEMS.observe(len(batch.inputs))
        metrics.BATCH_COST.observe(batch.cost)
        metrics.BATCH_FILL.observe(batch.fill)
        metrics.BATCH_WAIT.observe(now - batch.arrived)


def _adapters(lane: Lane, claims: Sequence[Claim | None]) -> tuple[AdapterPin | None, ...]:
    """The adapter of each input, where any has one that is not the lane's."""
    found = tuple(claim.job.adapter if claim is not None else None for claim in claims)
    return found if any(pin is not None and pin != lane.adapter for pin in found) else ()
